/** Brings about what a storm has planned (storm.ts), and notes when each fault began and ended. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import type { Sandbox } from "../../src/local/sandbox.ts";
import type { SandboxFault } from "../../src/local/sandbox-faults.ts";
import { isAtRest } from "./audit.ts";
import { eventually } from "./eventually.ts";
import type { Fleet } from "./fleet.ts";
import type { Disturbance } from "./invariants.ts";
import type { TestDatabase } from "./postgres.ts";
import type { Fault, Storm } from "./storm.ts";

/** More than three replicas ever send in a storm. */
export const TAPE_LENGTH = 4_000;
const REQUESTS_ENOUGH = 120;

export interface Place {
  readonly database: TestDatabase;
  readonly sandbox: StormedApi;
  readonly fleet: Fleet;
}

/** One API, or two together (api-pair.ts). */
export type StormedApi = Pick<
  Sandbox,
  "customers" | "history" | "counts" | "setFaults" | "faults" | "clearFaults" | "revokeTokens"
>;

/**
 * Resolves when the last fault is over.
 *
 * @param lasting a fault of the API that stays when the storm is over
 */
export async function rage(
  { faults, tape }: Storm,
  place: Place,
  lasting: SandboxFault,
): Promise<{ counts: Record<string, number>; disturbances: Disturbance[] }> {
  const counts: Record<string, number> = {};
  const disturbances: Disturbance[] = [];
  const beganAt = performance.now();
  place.sandbox.setFaults({ next: [...tape], always: lasting });

  await Promise.all(
    faults.map(async ({ atMs, fault }) => {
      // The plan's own time.
      await sleep(Math.max(0, beganAt + atMs - performance.now()));
      const disturbance: Disturbance = {
        name: fault.name,
        slot: "slot" in fault ? fault.slot : null,
        from: performance.now(),
        to: Number.POSITIVE_INFINITY,
      };
      // Faults of the API show in the requests themselves.
      if (fault.part !== "api") disturbances.push(disturbance);
      const isDone = await bringAbout(fault, place);
      disturbance.to = performance.now();
      if (isDone) counts[nameOf(fault)] = (counts[nameOf(fault)] ?? 0) + 1;
    }),
  );
  await playOn(place);
  counts["api"] = playedOf(tape, place.sandbox);
  place.sandbox.clearFaults();
  place.sandbox.setFaults({ always: lasting });
  return { counts, disturbances };
}

/** On a slow machine the replicas send little during the storm: the API's faults go on until enough requests have met them. */
async function playOn({ database, sandbox }: Place): Promise<void> {
  const isEnough = async () =>
    sandbox.counts().total >= REQUESTS_ENOUGH || (await isAtRest(database));
  await eventually(async () => expect(await isEnough()).toBe(true), { timeoutMs: 30_000 }).catch(
    () => {},
  );
}

/** How many faults of the tape have met a request. */
function playedOf(tape: readonly SandboxFault[], sandbox: StormedApi): number {
  const bad = (faults: readonly SandboxFault[]) =>
    faults.filter((fault) => Object.keys(fault).length > 0).length;
  return bad(tape) - bad(sandbox.faults().next ?? []);
}

function nameOf(fault: Fault): string {
  return `${fault.part} ${fault.name}${fault.part === "process" && fault.name === "stop" && fault.forMs > 4_000 ? " long" : ""}`;
}

async function bringAbout(fault: Fault, { database, sandbox, fleet }: Place): Promise<boolean> {
  switch (fault.part) {
    case "api":
      sandbox.revokeTokens();
      return true;

    case "network": {
      const network = fleet.slots[fault.slot]?.network;
      if (network === undefined) return false;
      switch (fault.name) {
        case "cut":
          network.cut();
          return true;
        case "delay":
          network.delay(fault.delayMs);
          await sleep(fault.forMs);
          network.delay(0);
          return true;
        case "blackhole":
          network.blackhole(true);
          await sleep(fault.forMs);
          network.blackhole(false);
          return true;
        case "refuse":
          await network.refuse();
          network.cut();
          await sleep(fault.forMs);
          await network.accept();
          return true;
      }
      return false;
    }

    case "database": {
      const killed = await database.query(
        `select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name like 'account-sync%' and ($1 = 'any' or application_name ~ ('^account-sync [^ ]+' || $1 || '$'))`,
        [fault.role],
      );
      return killed.length > 0;
    }

    case "process": {
      const slot = fleet.slots[fault.slot];
      if (slot === undefined) return false;
      switch (fault.name) {
        case "kill":
          return await fleet.kill(slot, fault.forMs);
        case "term":
          return await fleet.terminate(slot, fault.forMs);
        case "kill all":
          return await fleet.killAll(fault.forMs);
        case "stop":
          return await fleet.suspend(slot, fault.forMs);
      }
      return false;
    }

    default:
      return fault satisfies never;
  }
}
