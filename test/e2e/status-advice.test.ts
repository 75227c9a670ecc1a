/** What `status <id>` says to do is done, command by command as it stands there, until the account is clean. */
import { expect, test } from "vitest";
import { migrate } from "../../src/db/migrate.ts";
import { insertAccount } from "../support/accounts.ts";
import { eventually } from "../support/eventually.ts";
import { type RunningProcess, startProcess } from "../support/process.ts";
import { apiEnvironment, createProduct, type Product, QUICK } from "../support/product.ts";

interface Step {
  readonly state: string | null;
  readonly says: string;
  readonly commands: readonly string[];
}

test("an account from before the first migrate is sent by the command that is named", async () => {
  const product = await createProduct();
  const id = await insertAccount(product.database);
  await migrate({ url: product.database.url, info: () => {} });

  const steps = await followAdvice(product, id);

  expect(steps.map(({ state }) => state)).toEqual([null, "clean"]);
});

test("an id that is nowhere is not told to sync", async () => {
  const product = await createProduct({ database: { migrated: true } });

  for (const id of ["00000000-0000-4000-8000-000000000000", "no id at all"]) {
    const { code, stderr } = await run(product, ["status", id]);
    expect(code).toBe(1);
    expect(stderr).toContain("check the id. Ids are those of m_account.id;");
    expect(stderr).not.toContain("account-sync sync");
  }
});

test("captured while no daemon runs: start, or send it alone", async () => {
  const product = await createProduct({ database: { migrated: true } });
  const id = await insertAccount(product.database);

  const steps = await followAdvice(product, id);

  expect(steps[0]?.commands).toEqual(["account-sync start", `account-sync sync ${id}`]);
  expect(steps.at(-1)?.state).toBe("clean");
});

test("parked for its data: previewed, corrected, put back, and started", async () => {
  const product = await createProduct();
  const daemon = await product.start();
  const id = await insertAccount(product.database, { name: " " });
  await untilState(product, id, "parked");
  await daemon.stop("the rest is up to the commands");

  const steps = await followAdvice(product, id, {
    async meanwhile() {
      // By a session that captures nothing: the retry is what puts it back.
      await product.database.query(
        "alter table m_account disable trigger user; update m_account set name = 'Toko'; alter table m_account enable trigger user",
      );
    },
  });

  expect(steps[0]?.commands).toEqual([
    `account-sync preview ${id}`,
    `account-sync retry ${id}`,
    "account-sync start",
  ]);
  expect(steps.at(-1)?.state).toBe("clean");
});

test.each([
  ["refused", { on: "create", status: 422 }, {}],
  ["without an answer", { on: "create", dropConnection: "before" }, {}],
  [
    "out of tries",
    { on: "create", status: 503 },
    { SYNC_MAX_ATTEMPTS: "1", CUSTOMER_API_NOT_APPLIED_STATUSES: "429,503" },
  ],
] as const)("parked, %s: put back while a daemon runs", async (_name, fault, environment) => {
  const product = await createProduct();
  await product.start(environment);
  product.sandbox.setFaults({ always: fault });
  const id = await insertAccount(product.database);
  await untilState(product, id, "parked");
  product.sandbox.clearFaults();
  // Nothing of it can be under way any more, so a retry does not wait for the first try.
  await product.database.query(
    "update account_sync.attempt set started_at = started_at - interval '1 hour'",
  );

  const steps = await followAdvice(product, id);

  expect(steps[0]?.commands).toEqual([`account-sync retry ${id}`]);
  expect(steps.at(-1)?.state).toBe("clean");
});

test("retrying, and its daemon is gone: sent alone", async () => {
  const product = await createProduct();
  const daemon = await product.start({ CUSTOMER_API_NOT_APPLIED_STATUSES: "429,503" });
  product.sandbox.setFaults({ always: { on: "create", status: 503 } });
  const id = await insertAccount(product.database);
  await untilState(product, id, "retrying");
  await daemon.stop("the rest is up to the commands");
  product.sandbox.clearFaults();

  const steps = await followAdvice(product, id, { skips: ["account-sync start"] });

  expect(steps[0]?.commands).toContain(`account-sync sync ${id}`);
  expect(steps.at(-1)?.state).toBe("clean");
});

test("blocked by a parent that is parked, or that the queue does not know: the parent's own advice helps both", async () => {
  const product = await createProduct();
  const old = await insertAccount(product.database, { accountNo: "A-0" });
  // No recheck during the test: an account that is looked at again just then is at work, and needs nobody.
  await product.start({ SYNC_BACKOFF_MAX_MS: "60000" });
  const parent = await insertAccount(product.database, { accountNo: "A-1", name: " " });
  await untilState(product, parent, "parked");
  const child = await insertAccount(product.database, { accountNo: "A-2", parentId: parent });
  const other = await insertAccount(product.database, { accountNo: "A-3", parentId: old });
  await untilState(product, child, "blocked");
  await untilState(product, other, "blocked");

  const ofParked = await adviceFor(product, child);
  const ofUnknown = await followAdvice(product, other);
  await product.database.query("update m_account set name = 'Toko' where id = $1", [parent]);
  await untilState(product, child, "clean");

  expect(ofParked.commands).toEqual([`account-sync status ${parent}`]);
  expect(ofUnknown[0]?.commands).toEqual([`account-sync sync ${old}`]);
  expect(ofUnknown.at(-1)?.state).toBe("clean");
});

/** Gives every command that is named, and looks again, until nothing is named any more. */
async function followAdvice(
  product: Product,
  id: string,
  how: { readonly skips?: readonly string[]; readonly meanwhile?: () => Promise<void> } = {},
): Promise<readonly Step[]> {
  const steps: Step[] = [];
  const daemons: RunningProcess[] = [];
  try {
    for (let step = await adviceFor(product, id); ; step = await adviceFor(product, id)) {
      steps.push(step);
      if (step.commands.length === 0 || steps.length === 5) break;
      for (const command of step.commands) {
        if (how.skips?.includes(command)) continue;
        const daemon = await give(product, command);
        if (daemon !== null) daemons.push(daemon);
        if (command.includes("preview")) await how.meanwhile?.();
      }
      await untilState(product, id, "clean").catch(() => {});
    }
  } finally {
    for (const daemon of daemons) daemon.signal("SIGTERM");
    await Promise.all(daemons.map(({ exit }) => exit));
  }
  return steps;
}

/** Runs what was named, and looks at whether it did what its name says. Resolves with the daemon where it starts one. */
async function give(product: Product, command: string): Promise<RunningProcess | null> {
  const [, ...args] = command.split(" ");
  if (args[0] === "start") {
    const daemon = startProcess({ args, env: environmentOf(product) });
    await daemon.waitForLine(/"msg":"started"/);
    return daemon;
  }
  const { code, stdout } = await run(product, args);
  switch (args[0]) {
    case "retry":
      expect(stdout).toContain("Put 1 parked account back");
      break;
    case "preview":
      expect(stdout).not.toBe("");
      break;
    default:
      expect({ command, code }).toEqual({ command, code: 0 });
  }
  return null;
}

async function adviceFor(product: Product, id: string): Promise<Step> {
  const { stdout, stderr } = await run(product, ["status", id, "--json"]);
  if (stdout !== "") {
    const { state, next_step, commands } = JSON.parse(stdout);
    return { state, says: next_step, commands };
  }
  const { hint } = JSON.parse(stderr) as { hint: string };
  return { state: null, says: hint, commands: hint.match(/(?<=`)account-sync [^`]+/g) ?? [] };
}

async function untilState(product: Product, id: string, state: string): Promise<void> {
  await eventually(
    async () =>
      expect(
        await product.database.query(
          "select s.state, (select count(*)::int from account_sync.change) as changes from account_sync.status s where account_id = $1",
          [id],
        ),
      ).toEqual([{ state, changes: 0 }]),
    { timeoutMs: 6_000 },
  );
}

async function run(product: Product, args: readonly string[]) {
  const running = startProcess({ args, env: environmentOf(product) });
  const { code } = await running.exit;
  return { code, stdout: running.stdout.join("\n"), stderr: running.stderr.join("\n") };
}

function environmentOf({ sandbox, database }: Product): Record<string, string> {
  return { ...QUICK, ...apiEnvironment(sandbox), DATABASE_URL: database.url };
}
