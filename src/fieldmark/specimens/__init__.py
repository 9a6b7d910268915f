"""Collections drawn by code, for the demo, tests and scale: a module a subject (flukes, museum objects), one canvas."""
