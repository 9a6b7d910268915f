"""Collections drawn by code (flukes), for the demo, tests and scale."""
