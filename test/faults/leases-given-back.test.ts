/** Sessions that are cut while accounts are claimed: these are worked on when the database is back, and not at the end of their lease. */
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { audit } from "../support/audit.ts";
import { eventually } from "../support/eventually.ts";
import { createProduct } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";
import { openScene, type Scene, type StartedDaemon, untilClean } from "../support/scene.ts";
import { startStatementGate } from "../support/statement-gate.ts";
import { startTcpProxy } from "../support/tcp-proxy.ts";
import { FLAWLESS } from "../support/verdict.ts";

/** The default lease is three times as long. */
const WITHIN_MS = 10_000;

test("a run that fails while the database refuses sessions for seconds is tried again within seconds", async () => {
  const product = await createProduct({ database: { migrated: true } });
  const proxy = await startTcpProxy(Number(new URL(product.database.url).port));
  const url = new URL(product.database.url);
  url.port = String(proxy.port);
  const gate = await startStatementGate(url.href);
  await product.start({ DATABASE_URL: gate.url, SYNC_LEASE_MS: "30000" });
  const load = gate.holdBefore("load_accounts");
  await insertAccount(product.database, { accountNo: "A-1" });
  await load.reached;

  await proxy.refuse();
  proxy.cut();
  // The outage itself: the first try to give the account back has failed by then.
  await sleep(2_000);
  await proxy.accept();
  const backAt = performance.now();

  await eventually(() => expect(product.sandbox.customers()).toHaveLength(1), {
    timeoutMs: 40_000,
  });
  expect(performance.now() - backAt).toBeLessThan(WITHIN_MS);
  await untilAtRest(product.database);
  expect(await audit(product.database, product.sandbox)).toEqual(FLAWLESS);
});

test("a claim whose answer is lost is given back at the next one", async () => {
  await using scene = await openScene();
  const daemon = await scene.start();
  const id = await untilClaimUnanswered(scene, daemon);

  await scene.database.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where datname = current_database() and application_name like 'account-sync %'`,
  );
  const cutAt = performance.now();

  await untilClean(scene, id);
  expect(performance.now() - cutAt).toBeLessThan(WITHIN_MS);
  expect(await audit(scene.database, scene.sandbox)).toEqual(FLAWLESS);
});

/** Resolves with the id of an account that is claimed, and whose claim is not answered. A sweep may be held that took nothing: once more. */
async function untilClaimUnanswered(scene: Scene, { gate }: StartedDaemon): Promise<string> {
  for (let n = 1; n <= 20; n += 1) {
    const claim = gate.holdAnswer("claim_accounts");
    const id = await insertAccount(scene.database, { accountNo: `A-${n}` });
    await claim.reached;
    const leased = await scene.database.query(
      "select account_id from account_sync.account where lease_token is not null",
    );
    if (leased.length > 0) return id;
    claim.release();
    await untilClean(scene, id);
  }
  throw new Error("no claim that took an account was held");
}
