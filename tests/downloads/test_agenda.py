"""Schedule of requests: limits, waits, fair turns."""

from fieldmark.downloads.agenda import Agenda


def taken(agenda: Agenda[str], now: float = 0.0) -> list[str]:
    found = []
    while isinstance(next_ := agenda.take(now), tuple):
        found.append(next_[0])
    return found


def test_hosts_take_turns_and_none_has_more_than_its_share() -> None:
    agenda: Agenda[str] = Agenda(n_a_host=2)
    for number in range(5):
        agenda.add(f"a{number}", host="a")
    for number in range(3):
        agenda.add(f"b{number}", host="b")
    assert taken(agenda) == ["a0", "b0", "a1", "b1"]
    assert agenda.take(0.0) is None
    agenda.finished(agenda.host("a"))
    assert taken(agenda) == ["a2"]
    agenda.finished(agenda.host("b"))
    assert taken(agenda) == ["b2"]
    assert agenda.n_waiting == 2


def test_no_job_starts_before_its_time() -> None:
    agenda: Agenda[str] = Agenda(n_a_host=8)
    agenda.add("late", host="a", at=9.0)
    agenda.add("soon", host="a", at=5.0)
    assert agenda.take(1.0) == 5.0
    agenda.add("now", host="a")
    assert taken(agenda, 1.0) == ["now"]
    agenda.pause(agenda.host("a"), until=7.0)
    assert agenda.take(6.0) == 7.0
    assert taken(agenda, 7.0) == ["soon"]
    assert taken(agenda, 20.0) == ["late"]
    assert agenda.take(20.0) is None


def test_a_host_may_require_time_between_two_requests() -> None:
    agenda: Agenda[str] = Agenda(n_a_host=8)
    agenda.host("a").every_s = 2.0
    for name in ("one", "two"):
        agenda.add(name, host="a")
    assert taken(agenda, 1.0) == ["one"]
    assert agenda.take(1.0) == 3.0
    assert taken(agenda, 3.0) == ["two"]


def test_a_closed_host_returns_all_jobs_at_once() -> None:
    agenda: Agenda[str] = Agenda(n_a_host=1)
    agenda.add("one", host="a", at=100.0)
    agenda.add("two", host="a", at=200.0)
    agenda.close(agenda.host("a"), "down")
    assert taken(agenda, 0.0) == ["one"]
    agenda.finished(agenda.host("a"))
    assert taken(agenda, 0.0) == ["two"]
