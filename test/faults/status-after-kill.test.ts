/** What `status` says of a daemon that was killed, and of what it had under way, until another one runs. */
import { expect, test } from "vitest";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { textOf } from "../support/process.ts";
import { apiEnvironment } from "../support/product.ts";
import { openScene } from "../support/scene.ts";

test("no daemon: status says so at once after a kill, and what to do, and no longer when one runs", async () => {
  await using scene = await openScene();
  const environment = { ...apiEnvironment(scene.sandbox), DATABASE_URL: scene.database.url };
  const daemon = await scene.start();
  const running = await statusOf(environment);
  const id = await insertAccount(scene.database, { accountNo: "A-1" });
  await eventually(() => expect(scene.sandbox.customers()).toHaveLength(1));
  scene.sandbox.setFaults({ next: [{ on: "update", hang: true }] });
  await scene.database.query("update m_account set name = 'Warung' where id = $1", [id]);
  await eventually(() => expect(scene.requests()).toHaveLength(2));
  const killedAt = performance.now();
  await daemon.kill();
  await insertAccount(scene.database, { accountNo: "A-2" });

  const dead = await eventually(async () => {
    const text = await statusOf(environment);
    expect(text).toMatch(/^Nothing is sent: no daemon runs\.\nStart one: `npm start`/);
    return text;
  });
  expect(performance.now() - killedAt).toBeLessThan(8_000);
  await scene.start();
  await eventually(async () => expect(await statusOf(environment)).toMatch(/^1 daemon runs\./));
  await eventually(
    async () =>
      expect(
        await scene.database.query(
          "select outcome from account_sync.attempt where account_id = $1 order by attempt_id",
          [id],
        ),
      ).toEqual([{ outcome: "synced" }, { outcome: "retry" }, { outcome: "synced" }]),
    { timeoutMs: 8_000 },
  );
  const history = await textOf(["status", id], environment);

  expect(history).toMatch(/retry .*cut off before an outcome was recorded: its daemon is gone/);
  expect(running).toMatch(/^1 daemon runs\.\nNothing is pending/);
  expect(dead).toMatch(/\d changes? captured/);
});

async function statusOf(environment: Readonly<Record<string, string>>): Promise<string> {
  return await textOf(["status"], environment);
}
