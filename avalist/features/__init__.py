"""Features: declare, plan, kernel, state. Pure, dated, deterministic; one kernel for live and replay."""
