/**
 * F33: wall clocks jump by an hour and back, time zones differ, summer time begins. Leases follow the database's clock, delays a monotonic
 * one, and a date is the same day everywhere. (The database's own clock cannot be shifted here without the machine's.)
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { type DaemonProcess, startDaemonProcess } from "../support/daemon-process.ts";
import { eventually } from "../support/eventually.ts";
import { expectFlawless } from "../support/fault-end.ts";
import { createProduct } from "../support/product.ts";
import { untilAtRest } from "../support/queue-state.ts";

const HOUR_MS = 3_600_000;

test("F33 clocks of two daemons jump by an hour in mid-run: leases hold, backoff and quiet period are as long as ever", async () => {
  const product = await createProduct();
  const clocks = [createClock(HOUR_MS), createClock(-HOUR_MS)];
  const settings = {
    // A daemon that takes an account over repeats its update, so a misjudged lease shows as an overlap.
    SYNC_CONCURRENCY: "4",
    // Nothing wakes the daemons: they act by their own clocks alone.
    SYNC_NOTIFY: "off",
    SYNC_QUIET_PERIOD_MS: "200",
    SYNC_MAX_WAIT_MS: "1000",
    SYNC_LEASE_MS: "2000",
  };
  const daemons: DaemonProcess[] = [];
  for (const clock of clocks)
    daemons.push(await startDaemonProcess(product, { ...settings, ...clock.environment }));
  const accounts = 12;
  for (let n = 0; n < accounts; n += 1)
    await insertAccount(product.database, { accountNo: `A-${n}`, tiers: 1, pics: 0 });
  await untilAtRest(product.database);

  const jumps = [-HOUR_MS, HOUR_MS, 0, 25 * HOUR_MS, -25 * HOUR_MS, HOUR_MS, -HOUR_MS, 0];
  let slowestMs = 0;
  for (const [round, jump] of jumps.entries()) {
    // Delays longer than a lease, so that only renewals keep the accounts, and failures of the API.
    product.sandbox.setFaults({
      next: [{ delayMs: 3_000 }, { status: 503 }, { status: 500 }, { delayMs: 500 }],
    });
    await product.database.query("update m_account set name = $1", [`Round ${round}`]);
    await eventually(() => expect(product.sandbox.counts().inWork).toBeGreaterThan(0));
    // Both at once, or one daemon would do what the other one delays; two hours apart, as at the start.
    for (const [which, clock] of clocks.entries()) clock.set(jump + (1 - 2 * which) * HOUR_MS);
    const jumpedAt = performance.now();
    await untilAtRest(product.database);
    slowestMs = Math.max(slowestMs, performance.now() - jumpedAt);
  }

  expect(product.sandbox.counts().overlapping).toBe(0);
  // The slowest answer takes three seconds; a backoff of an hour or an expired token would show here.
  expect(slowestMs).toBeLessThan(15_000);
  for (const daemon of daemons) expect(await daemon.metric("leases_lost_total")).toBe(0);
  // Two retries a round at the most, beside the change itself.
  const requests = product.requests().length;
  expect(requests).toBeLessThanOrEqual(accounts + jumps.length * (accounts + 3));
  await expectFlawless(product, "F33", { tries: jumps.length, recoveryMs: slowestMs });
});

test("F33 whatever the zone of the daemon, of the database and its style of dates: the payload is the same to the byte", async () => {
  const product = await createProduct();
  const zones = [
    { TZ: "UTC", database: "UTC", style: "ISO, MDY" },
    { TZ: "Asia/Jakarta", database: "Asia/Jakarta", style: "ISO, DMY" },
    { TZ: "Pacific/Kiritimati", database: "America/Los_Angeles", style: "German, DMY" },
    { TZ: "America/Los_Angeles", database: "Pacific/Kiritimati", style: "SQL, MDY" },
    { TZ: "Europe/Berlin", database: "America/Sao_Paulo", style: "Postgres, DMY" },
  ];
  // Days on which the clocks of one of these zones change, midnights that did not exist, and the ends of years.
  const id = await insertAccount(product.database, { accountNo: "A-1", tiers: 0, pics: 1 });
  const days = [
    ["2026-03-29", "2026-10-25"],
    ["2018-11-04", "2019-02-17"],
    ["2025-12-31", "2026-01-01"],
    ["2024-02-29", "2028-02-29"],
    ["1999-12-31", "9999-12-31"],
  ];
  for (const [n, [from, to]] of days.entries())
    await product.database.query(
      "insert into m_account_package_tier (account_id, min_value, max_value, amount, start_date, end_date) values ($1, $2, $3, 1, $4, $5)",
      [id, n * 10, n * 10 + 10, from, to],
    );

  const texts: string[] = [];
  for (const { TZ, database, style } of zones) {
    await product.database.query(
      `alter database ${product.database.name} set timezone = '${database}'`,
    );
    await product.database.query(
      `alter database ${product.database.name} set datestyle = '${style}'`,
    );
    const daemon = await startDaemonProcess(product, { TZ });
    // Nothing changes in the payload: a date that is read differently would be sent.
    await product.database.query("update m_account set name = name || ' ' where id = $1", [id]);
    await product.database.query("update m_account set name = btrim(name) where id = $1", [id]);
    await untilAtRest(product.database);
    const sent = product.requests().length;
    expect(sent, TZ).toBe(texts.length + 1);
    // A manual request is sent, changed or not.
    await product.database.query("select account_sync.request($1::text)", [id]);
    await eventually(() => expect(product.requests()).toHaveLength(sent + 1));
    await untilAtRest(product.database);
    texts.push(product.requests().at(-1)?.text ?? "");
    daemon.signal("SIGTERM");
    await daemon.exit;
  }

  for (const [from, to] of days) {
    expect(texts[0]).toContain(`"valid_from":"${from}T00:00:00"`);
    expect(texts[0]).toContain(`"valid_to":"${to}T23:59:59"`);
  }
  expect(new Set(texts).size).toBe(1);
  await expectFlawless(product, "F33", { tries: zones.length, recoveryMs: null });
});

const directories: string[] = [];

afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

/** The wall clock of one process, shifted by so many milliseconds from its start on. */
function createClock(shiftMs: number) {
  const directory = mkdtempSync(join(tmpdir(), "account-sync-clock-"));
  directories.push(directory);
  const file = join(directory, "shift");
  const set = (ms: number) => writeFileSync(file, String(ms));
  set(shiftMs);
  const preload = fileURLToPath(new URL("../support/shift-clock.mjs", import.meta.url));
  return {
    set,
    environment: { NODE_OPTIONS: `--import ${preload}`, CLOCK_SHIFT_FILE: file },
  };
}
