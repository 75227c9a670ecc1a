/** `GET /`: the state of process and queue on one page, rendered on the server, without scripts and without other files. */
import { createHash } from "node:crypto";
import type { Obstacle } from "../obstacle.ts";
import type { Route } from "../ops/http.ts";
import type { Health } from "../ops/observe.ts";
import type { QueueStatus } from "../ops/queue-gauges.ts";
import type { Sending } from "../queue/sending.ts";
import { describeSending, WAITS_FOR } from "../queue/sending-words.ts";
import type { AccountStatus, ConsoleProcess, ConsoleQueue } from "./api.ts";

const REFRESH_SECONDS = 10;
const FAILURES_MAX = 20;
/** The page is needed most when the database is stuck, so it does not wait for it. */
const QUEUE_TIMEOUT_MS = 2_000;

interface StatusPage {
  readonly version: string;
  readonly now: Date;
  readonly reasons: readonly string[];
  readonly health: Health;
  readonly obstacle: Pick<Obstacle, "by"> | null;
  /** null: the database did not answer. */
  readonly queue: {
    readonly status: QueueStatus;
    readonly sending: Sending;
    readonly failures: readonly AccountStatus[];
  } | null;
  readonly refreshes: boolean;
}

export function statusPageRoute({
  queue,
  process,
  onError,
}: {
  readonly queue: ConsoleQueue;
  readonly process: ConsoleProcess;
  readonly onError: (error: unknown) => void;
}): Route {
  return {
    method: "GET",
    path: "/",
    async handle({ query }) {
      const html = renderStatusPage({
        version: process.version,
        now: new Date(),
        reasons: process.readiness(),
        health: process.health(),
        obstacle: process.obstacle(),
        queue: await readQueue(),
        refreshes: (query as Record<string, unknown>)["refresh"] !== "off",
      });
      return { status: 200, html, styleHash };
    },
  };

  async function readQueue(): Promise<StatusPage["queue"]> {
    const limit = { state: null, cursor: null, limit: FAILURES_MAX };
    const reading = Promise.all([
      queue.status(),
      queue.sending(),
      queue.accounts({ ...limit, state: "parked" }),
      queue.accounts({ ...limit, state: "retrying" }),
    ]).then(([status, sending, parked, retrying]) => ({
      status,
      sending,
      failures: toNewest([...parked.accounts, ...retrying.accounts]),
    }));

    try {
      return await orNull(reading, QUEUE_TIMEOUT_MS);
    } catch (error) {
      onError(error);
      return null;
    }
  }
}

function toNewest(accounts: readonly AccountStatus[]): readonly AccountStatus[] {
  return accounts
    .toSorted((a, b) => (b.changed_at ?? "").localeCompare(a.changed_at ?? ""))
    .slice(0, FAILURES_MAX);
}

function orNull<T>(work: Promise<T>, limitMs: number): Promise<T | null> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(null), limitMs);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function renderStatusPage(page: StatusPage): string {
  const { version, now, reasons, health, obstacle, queue, refreshes } = page;

  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
${refreshes ? html`<meta http-equiv="refresh" content="${REFRESH_SECONDS}">` : html``}
<title>account-sync: ${reasons.length === 0 ? "ready" : "not ready"}</title>
${{ markup: `<style>${style}</style>` }}
</head>
<body>
<header>
<h1>account-sync</h1>
<p>Version ${version} · ${now.toISOString()} · ${
    refreshes
      ? html`renewed every ${REFRESH_SECONDS} s, <a href="/?refresh=off">stop</a>`
      : html`<a href="/">renew every ${REFRESH_SECONDS} s</a>`
  }</p>
</header>
<main>
<h2>This process</h2>
<dl>
<dt>Ready</dt><dd>${reasons.length === 0 ? "yes" : html`<strong>no</strong>: ${reasons.join("; ")}`}</dd>
<dt>Listener</dt><dd>${health.listener === "up" ? "up" : html`<strong>down</strong>: changes wait for the sweep`}</dd>
<dt>Circuit</dt><dd>${health.circuit === "closed" ? "closed" : html`<strong>${health.circuit.replace("_", " ")}</strong>: ${whyOpen(obstacle)}`}</dd>
</dl>
<h2>Queue</h2>
${
  queue === null
    ? html`<p><strong>The database did not answer.</strong></p>`
    : html`${renderSending(queue.sending)}${renderQueue(queue.status)}${renderFailures(queue.failures, now)}`
}
</main>
<footer>
<p><a href="/metrics">Metrics</a> · <a href="/api/status">Status as JSON</a> · <a href="/api/accounts?state=parked">Parked accounts as JSON</a></p>
</footer>
</body>
</html>
`.markup;
}

/** Each API has a circuit, and the worst is shown: this process may be stopped by another one, or not at all. */
function whyOpen(obstacle: Pick<Obstacle, "by"> | null): string {
  return obstacle?.by === "unauthorized" || obstacle?.by === "circuit_open"
    ? WAITS_FOR[obstacle.by]
    : "one of the APIs that are sent to does not answer as it should, or refuses our credentials";
}

function renderSending(sending: Sending): Markup {
  const { line, remedy } = describeSending(sending);
  return html`<p>${sending.obstacle !== null ? html`<strong>${line}</strong>` : line}${remedy === null ? "" : ` ${remedy}`}</p>
`;
}

function renderQueue({ byState, oldestPendingSeconds }: QueueStatus): Markup {
  const rows = Object.entries(byState).map(
    ([state, count]) => html`<tr><th scope="row">${state}</th><td class="number">${count}</td></tr>
`,
  );

  return html`<p>Oldest pending change: ${toAge(oldestPendingSeconds)}</p>
<table>
<caption>Accounts by state</caption>
<thead><tr><th scope="col">State</th><th scope="col">Accounts</th></tr></thead>
<tbody>
${rows}</tbody>
</table>
`;
}

function renderFailures(failures: readonly AccountStatus[], now: Date): Markup {
  if (failures.length === 0) return html`<p>No account is parked or retrying.</p>`;

  const rows = failures.map(
    (account) => html`<tr>
<th scope="row"><a href="/api/accounts/${encodeURIComponent(account.account_id)}">${account.account_id}</a></th>
<td>${account.state}</td><td>${account.error_class ?? ""}</td><td>${account.error ?? ""}</td>
<td class="number">${account.attempts}</td><td>${toAgeOf(account.changed_at, now)}</td>
</tr>
`,
  );

  return html`<table>
<caption>Most recent failures</caption>
<thead><tr><th scope="col">Account</th><th scope="col">State</th><th scope="col">Class</th>
<th scope="col">Error</th><th scope="col">Attempts</th><th scope="col">Changed</th></tr></thead>
<tbody>
${rows}</tbody>
</table>
`;
}

function toAgeOf(at: string | null, now: Date): string {
  const ms = at === null ? Number.NaN : now.getTime() - Date.parse(at);
  return Number.isNaN(ms) ? "" : `${toAge(Math.max(0, ms / 1_000))} ago`;
}

function toAge(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7_200) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3_600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

const style = `
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1rem; }
dt { font-weight: 600; }
dd { margin: 0; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding: 0.25rem 0; }
th, td { border-bottom: 1px solid; padding: 0.25rem 0.75rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
.number { text-align: right; }
`;

const styleHash = `sha256-${createHash("sha256").update(style).digest("base64")}`;

/** Text that is HTML already. Everything else in a template is escaped, so no value can be inserted unescaped by mistake. */
interface Markup {
  readonly markup: string;
}

type Insertable = string | number | Markup | readonly Markup[];

function html(parts: TemplateStringsArray, ...values: readonly Insertable[]): Markup {
  const markup = parts.reduce((before, part, index) => {
    const value = values[index - 1];
    return before + (value === undefined ? "" : toMarkup(value)) + part;
  });
  return { markup };
}

function toMarkup(value: Insertable): string {
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return escapeText(value);
  if ("markup" in value) return value.markup;
  return value.map(({ markup }) => markup).join("");
}

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeText(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character] ?? "");
}
