/** Statements as our sessions run them, explained: which plan, how many rows and buffers. Counts only, no times. */
import pg from "pg";
import { connectionOptions, settingsOf } from "../../src/db/own-settings.ts";
import { sqlOf } from "../../src/db/queries.ts";

/**
 * own: the daemon's, which keeps one plan of each statement for all parameters. shared: one behind a pooler or of the library's caller, which
 * each transaction is told our settings, and where a statement is planned anew each time, for its parameters.
 */
export type SessionKind = "own" | "shared";

export interface Explained {
  /** Tables that were read from one end to the other. */
  readonly readWhole: readonly string[];
  /** Tables by the names that the statement gives them, which were not looked into at all. */
  readonly unread: readonly string[];
  readonly returned: number;
  /** Rows that were inserted, updated or deleted. */
  readonly changed: number;
  readonly buffers: number;
  readonly plan: string;
}

/** With the settings that the product gives such a session. */
export async function openPlanner(url: string, kind: SessionKind): Promise<pg.Client> {
  const client = new pg.Client(
    connectionOptions({
      url,
      applicationName: "plans",
      settingsPerTransaction: kind === "shared",
      synchronousCommit: "on",
    }),
  );
  client.on("error", () => {});
  await client.connect();
  return client;
}

/** Prepares a statement and makes its plan, which is kept where it is a generic one. */
export async function planNow(
  client: pg.Client,
  name: string,
  parameters: readonly Parameter[],
): Promise<void> {
  await client.query(`prepare "${name}" as ${sqlOf(name)}`);
  await client.query(`explain ${executeOf(name, parameters)}`);
}

/** Runs a prepared statement after `before`, and takes both back. */
export async function explainPrepared(
  client: pg.Client,
  name: string,
  parameters: readonly Parameter[],
  { kind = "own", before = "" }: { readonly kind?: SessionKind; readonly before?: string } = {},
): Promise<Explained> {
  const settings = settingsOf({ settingsPerTransaction: kind === "shared" });
  await client.query(["begin", ...settings].join("; "));
  try {
    if (before !== "") await client.query(before);
    const { rows } = await client.query<{ "QUERY PLAN": readonly { readonly Plan: PlanNode }[] }>(
      `explain (analyze, buffers, timing off, format json) ${executeOf(name, parameters)}`,
    );
    const plan = rows[0]?.["QUERY PLAN"][0]?.Plan;
    if (plan === undefined) throw new Error(`No plan of ${name}`);
    return {
      readWhole: [...wholeTables(plan)],
      unread: [...unreadTables(plan)].toSorted(),
      returned: plan["Actual Rows"],
      changed: changesIn(plan),
      buffers: plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
      plan: drawn(plan, ""),
    };
  } finally {
    await client.query("rollback");
  }
}

export type Parameter = string | number | null | readonly (string | number | null)[];

interface PlanNode {
  readonly "Node Type": string;
  readonly "Parent Relationship"?: string;
  readonly "Relation Name"?: string;
  readonly Alias?: string;
  readonly "Index Name"?: string;
  readonly "Index Cond"?: string;
  readonly Filter?: string;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number;
  readonly "Rows Removed by Conflict Filter"?: number;
  readonly "Shared Hit Blocks": number;
  readonly "Shared Read Blocks": number;
  readonly Plans?: readonly PlanNode[];
}

/** A scan of the table itself, or of an index without a condition. */
function* wholeTables(node: PlanNode): Iterable<string> {
  const { "Node Type": type, "Relation Name": table, "Index Cond": condition } = node;
  if (node["Actual Loops"] === 0) return;
  if (type === "Seq Scan" && table !== undefined) yield table;
  if (/^(Index|Index Only|Bitmap Index) Scan$/.test(type) && condition === undefined)
    yield `${table ?? ""} by ${node["Index Name"]}`;
  for (const child of node.Plans ?? []) yield* wholeTables(child);
}

/** EXPLAIN numbers the names that occur more than once. */
function* unreadTables(node: PlanNode): Iterable<string> {
  if (
    node["Actual Loops"] === 0 &&
    node["Relation Name"] !== undefined &&
    node["Node Type"] !== "ModifyTable"
  )
    yield (node.Alias ?? node["Relation Name"]).replace(/_\d+$/, "");
  for (const child of node.Plans ?? []) yield* unreadTables(child);
}

/** What a statement changes without returning it is counted where it comes from. */
function changesIn(node: PlanNode): number {
  const children = node.Plans ?? [];
  const below = children.reduce((sum, child) => sum + changesIn(child), 0);
  if (node["Node Type"] !== "ModifyTable") return below;
  const source = children.find((child) => child["Parent Relationship"] === "Outer");
  return below + (source?.["Actual Rows"] ?? 0) - (node["Rows Removed by Conflict Filter"] ?? 0);
}

function drawn(node: PlanNode, indent: string): string {
  const facts = [
    node["Node Type"],
    node["Relation Name"],
    node["Index Name"],
    node["Index Cond"],
    node.Filter === undefined ? undefined : `filter ${node.Filter}`,
    `rows ${node["Actual Rows"]} × ${node["Actual Loops"]}`,
    node["Rows Removed by Filter"] && `removed ${node["Rows Removed by Filter"]}`,
    `buffers ${node["Shared Hit Blocks"] + node["Shared Read Blocks"]}`,
  ];
  const children = (node.Plans ?? []).map((child) => drawn(child, `${indent}  `));
  return [`${indent}${facts.filter(Boolean).join("  ")}`, ...children].join("\n");
}

function executeOf(name: string, parameters: readonly Parameter[]): string {
  const given = parameters.length === 0 ? "" : `(${parameters.map(literalOf).join(", ")})`;
  return `execute "${name}"${given}`;
}

/** Of unknown type: it becomes that of the parameter. */
function literalOf(value: Parameter): string {
  if (value === null) return "null";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return pg.escapeLiteral(value);
  const elements = value.map((element) =>
    element === null ? "null" : JSON.stringify(String(element)),
  );
  return pg.escapeLiteral(`{${elements.join(",")}}`);
}
