/** The checks by name, and what a finding of each one means. Pure, as metrics and logs use the names, too. */

/**
 * `stops`: account-sync would do harm, do nothing, or lose changes unnoticed: a start refuses, and /readyz answers 503 for as long as it lasts.
 * `fails`: something is broken that costs time, not changes: `doctor` fails, a start goes on.
 * `warns`: worth knowing; nothing fails for it.
 */
export type CheckEffect = "stops" | "fails" | "warns";

/** Checks that a running daemon repeats; each is a label of `account_sync_check_ok`. */
export const CHECK_EFFECTS = {
  server_version: "stops",
  server_writable: "stops",
  schema_version: "stops",
  source_tables: "stops",
  triggers: "stops",
  row_security: "stops",
  rights: "stops",
  listen: "fails",
  sequences: "fails",
  markers: "fails",
  api_configuration: "fails",
  excess_rights: "warns",
  notification_queue: "warns",
  prepared_transactions: "warns",
  connections: "warns",
  dump_rights: "warns",
  clock: "warns",
  encryption: "warns",
  url_parameters: "warns",
} as const satisfies Readonly<Record<string, CheckEffect>>;

export type CheckName = keyof typeof CHECK_EFFECTS;
