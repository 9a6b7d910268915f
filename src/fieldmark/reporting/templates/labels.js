"use strict";
/* Search and sort the list of labels. Without this script the list is sorted by frequency. */
for (const box of document.querySelectorAll("[data-find]")) {
  const field = box.querySelector("input");
  const output = box.querySelector("output");
  const body = box.querySelector("tbody");
  const rows = [...body.rows];
  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const names = new Map(rows.map((row) => [row, plain(row.cells[0].textContent)]));

  const find = () => {
    const words = plain(field.value).split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => names.get(row).includes(word));
      shown += row.hidden ? 0 : 1;
    }
    output.textContent = words.length ? `${shown} of ${rows.length}` : "";
  };

  const amount = (row, column) => {
    const number = Number.parseFloat(row.cells[column].textContent.replace(/,/g, ""));
    return Number.isNaN(number) ? -1 : number;
  };

  const sort = (head, column) => {
    const down = head.ariaSort ? head.ariaSort === "ascending" : column > 0;
    for (const other of head.parentElement.cells) other.ariaSort = null;
    head.ariaSort = down ? "descending" : "ascending";
    const ordered = [...rows].sort((a, b) =>
      column ? amount(a, column) - amount(b, column) : names.get(a).localeCompare(names.get(b)));
    body.append(...(down ? ordered.reverse() : ordered));
  };

  [...box.querySelector("thead tr").cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head, column));
    head.append(button);
  });
  field.addEventListener("input", find);
  box.querySelector(".find").hidden = false;
}
