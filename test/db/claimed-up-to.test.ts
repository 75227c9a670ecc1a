/** What falls due below what was claimed already is found all the same: src/queue/claimed-up-to.ts. */
import { beforeEach, expect, test } from "vitest";
import type { Queue } from "../../src/queue/queue.ts";
import { createEngine, type Engine } from "../support/engine.ts";

const HOUR_SECONDS = 3_600;

let engine: Engine;
let now: number;
let queue: Queue;

beforeEach(async () => {
  engine ??= await createEngine();
  await engine.reset();
  now = 0;
  queue = engine.queueWith({ now: () => now });
  // A search of everything that takes a second: the next one comes nine later.
  await engine.change("first");
  await queue.fold();
  const claiming = queue.claim(10);
  now += 1_000;
  expect(idsOf(await claiming)).toEqual(["first"]);
  await queue.nextDueInMs();
});

test("an account that another replica made due long ago is claimed when everything is searched, which is soon", async () => {
  await foldElsewhere("late");

  expect(await queue.claim(10)).toEqual([]);
  expect(await queue.nextDueInMs()).toBe(9_000);

  now += 9_000;
  expect(idsOf(await queue.claim(10))).toEqual(["late"]);
});

test("an account that our own fold made due long ago is claimed at once", async () => {
  await engine.change("late", { secondsAgo: HOUR_SECONDS });
  await queue.fold();

  expect(idsOf(await queue.claim(10))).toEqual(["late"]);
});

test("the round that settling opens for a change of long ago is claimed at once", async () => {
  await engine.change("busy", { secondsAgo: HOUR_SECONDS });
  await queue.fold();
  const [claim] = await queue.claim(1);
  if (claim === undefined) throw new Error("nothing is due");
  await engine.change("busy", { secondsAgo: HOUR_SECONDS - 1 });
  await queue.fold();
  await queue.nextDueInMs();

  await engine.db.transaction(async (tx) => {
    await queue.lockLeases(tx, [claim]);
    await queue.settle(tx, [
      {
        claim,
        generation: claim.generation,
        disposition: "clean",
        delayMs: 0,
        countsAsAttempt: false,
        failureKind: null,
        endsCreate: false,
        request: "kept",
        errorClass: null,
        error: null,
        fingerprint: null,
        blockedBy: null,
      },
    ]);
  });

  expect(idsOf(await queue.claim(10))).toEqual(["busy"]);
});

test("an account that was made due long ago is claimed at once when it is named", async () => {
  await foldElsewhere("late");

  expect(idsOf(await queue.claim(10, ["late"]))).toEqual(["late"]);
});

test("the claims of a backlog go on where the last one ended, in the order in which they fell due", async () => {
  for (const [index, id] of ["a", "b", "c", "d"].entries())
    await engine.change(id, { secondsAgo: HOUR_SECONDS - index });
  await queue.fold();

  const claimed: string[] = [];
  for (let claims = 0; claims < 4; claims += 1) claimed.push(...idsOf(await queue.claim(1)));

  expect(claimed).toEqual(["a", "b", "c", "d"]);
});

async function foldElsewhere(accountId: string): Promise<void> {
  await engine.change(accountId, { secondsAgo: HOUR_SECONDS });
  await engine.queueWith({}).fold();
}

function idsOf(claims: readonly { readonly accountId: string }[]): string[] {
  return claims.map((claim) => claim.accountId);
}
