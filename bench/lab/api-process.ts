/**
 * The customer API of the benchmark: the least that can answer a customer command, in a process of its own. It gives the same ids to the
 * same customer every time, waits as long as it is told before it answers, and remembers when it was asked.
 */
import http from "node:http";
import type { AddressInfo } from "node:net";
import { nowMs, serveParent } from "../daemons/parent.ts";

export type ApiQuestion =
  | { readonly kind: "address" }
  | {
      readonly kind: "reset";
      readonly delayMs: number;
      readonly keepsArrivals: boolean;
      readonly isHeld: boolean;
    }
  | { readonly kind: "release" }
  | { readonly kind: "counts" }
  | { readonly kind: "arrivals" };

export interface ApiCounts {
  readonly requests: number;
  readonly answers: number;
  /** Requests that were read and not answered yet: with a delay, as many as the contender had in flight. */
  readonly inFlightMax: number;
  /** On the shared clock; null before the first request. */
  readonly firstAtMs: number | null;
  readonly lastAtMs: number | null;
}

export interface Arrival {
  /** The account number. */
  readonly code: string;
  readonly name: string;
  readonly atMs: number;
}

const NOTHING: ApiCounts = {
  requests: 0,
  answers: 0,
  inFlightMax: 0,
  firstAtMs: null,
  lastAtMs: null,
};

let delayMs = 0;
let keepsArrivals = false;
let counts = { ...NOTHING };
let arrivals: Arrival[] = [];
let inFlight = 0;
/** Answers that wait for the release; null: none has to. */
let held: (() => void)[] | null = null;

const server = http.createServer((request, response) => {
  const arrivedAtMs = nowMs();
  inFlight += 1;
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const command = JSON.parse(Buffer.concat(chunks).toString()) as Command;
    count(command, arrivedAtMs);
    const body = toAnswer(command);
    const answer = () => {
      inFlight -= 1;
      counts = { ...counts, answers: counts.answers + 1 };
      response.writeHead(200, {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
      });
      response.end(body);
    };
    if (held !== null) held.push(answer);
    else if (delayMs === 0) answer();
    else setTimeout(answer, delayMs);
  });
});
// Longer than any pause between two parts: a closed connection would be measured as a new one.
server.keepAliveTimeout = 600_000;

server.listen(0, "127.0.0.1", () => serveParent(answerParent));

interface Command {
  readonly customer: { readonly name: string };
  readonly branch: { readonly code: string };
  readonly tier: readonly unknown[];
  readonly "customer-crew": readonly unknown[];
}

function count(command: Command, atMs: number): void {
  counts = {
    ...counts,
    requests: counts.requests + 1,
    inFlightMax: Math.max(counts.inFlightMax, inFlight),
    firstAtMs: counts.firstAtMs ?? atMs,
    lastAtMs: atMs,
  };
  if (keepsArrivals) {
    arrivals.push({ code: command.branch.code, name: command.customer.name, atMs });
  }
}

/** Ids by position, as many as were sent. */
function toAnswer({ branch, tier, "customer-crew": crew }: Command): string {
  const { code } = branch;
  return JSON.stringify({
    customer: { data: { id: `customer-${code}` } },
    branch: { data: { id: `branch-${code}` } },
    tier: { data: tier.map((_, index) => ({ id: `tier-${code}-${index}` })) },
    crew: { data: crew.map((_, index) => ({ id: `crew-${code}-${index}` })) },
  });
}

function answerParent(question: ApiQuestion): unknown {
  switch (question.kind) {
    case "address":
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    case "reset":
      ({ delayMs, keepsArrivals } = question);
      counts = { ...NOTHING };
      arrivals = [];
      held = question.isHeld ? [] : null;
      return null;
    case "release": {
      const answers = held ?? [];
      held = null;
      for (const answer of answers) answer();
      return null;
    }
    case "counts":
      return counts;
    case "arrivals":
      return arrivals;
    default:
      return question satisfies never;
  }
}
