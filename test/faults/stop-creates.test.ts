/** F7: SIGTERM while a create is on the wire, where one that is broken off is parked for a person: a rolling restart parks nothing. */
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { inWords, openScene, type Scene, stateOf, untilClean } from "../support/scene.ts";
import { FLAWLESS } from "../support/verdict.ts";

test.each([
  { answers: "after three seconds", delayMs: 3_000, timeoutMs: 10_000 },
  // Longer than anything else is waited for.
  { answers: "after 22 seconds", delayMs: 22_000, timeoutMs: 30_000 },
])(
  "F7 told to leave while a create is on the wire that is answered $answers: its ids are written, nothing else is begun",
  async ({ delayMs, timeoutMs }) => {
    await using scene = await openScene({ honourKeys: false });
    const daemon = await scene.start({ CUSTOMER_API_TIMEOUT_MS: String(timeoutMs) });
    scene.sandbox.setFaults({ next: [{ delayMs }] });
    const id = await insertAccount(scene.database, { accountNo: "A-1" });
    await eventually(() => expect(scene.sandbox.counts().inWork).toBe(1));

    daemon.signal("SIGTERM");
    await daemon.waitForLine(/"msg":"draining/);
    const lateId = await insertAccount(scene.database, { accountNo: "A-late" });
    const { code } = await daemon.exit;

    expect(code).toBe(0);
    expect(await stateOf(scene, id)).toMatchObject({ state: "clean" });
    expect(inWords(scene.requests())).toEqual(["create 201"]);
    expect(await leases(scene)).toEqual([]);

    await scene.start();
    await untilClean(scene, lateId);
    expect(inWords(scene.requests())).toEqual(["create 201", "create 201"]);
    expect(await audit(scene.database, scene.sandbox)).toEqual(FLAWLESS);
  },
  60_000,
);

test("F7 a create that could not be answered before the process leaves is not begun: it is given back, and not parked", async () => {
  await using scene = await openScene({ honourKeys: false });
  const daemon = await scene.start({
    CUSTOMER_API_TIMEOUT_MS: "10000",
    SYNC_SHUTDOWN_TIMEOUT_MS: "5000",
  });
  const stopped = daemon.gate.holdBefore("load_accounts");
  const id = await insertAccount(scene.database, { accountNo: "A-1" });
  await stopped.reached;

  daemon.signal("SIGTERM");
  await daemon.waitForLine(/"msg":"draining/);
  stopped.release();
  const { code } = await daemon.exit;

  expect(code).toBe(0);
  expect(daemon.stdout.join("\n")).toContain("SYNC_SHUTDOWN_TIMEOUT_MS (5000) is shorter than");
  expect(scene.requests()).toEqual([]);
  expect(await leases(scene)).toEqual([]);
  expect(await stateOf(scene, id)).toMatchObject({ state: "due" });

  await scene.start();
  await untilClean(scene, id);
  expect(await audit(scene.database, scene.sandbox)).toEqual(FLAWLESS);
});

async function leases({ database }: Scene): Promise<unknown[]> {
  return await database.query(
    "select account_id from account_sync.account where lease_token is not null",
  );
}
