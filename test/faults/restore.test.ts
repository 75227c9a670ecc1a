/**
 * F55: the owner of the tables dumps the database, and the dump is restored in each of the usual ways. After each restore the
 * application's statements work at once (or the case says how they fail, and what repairs them); then the advice of doctor is followed to
 * the letter until it finds nothing; then changes are captured. docs/backup-and-restore.md has the same table.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { withCheckContext } from "../../src/check-context.ts";
import { lookAt } from "../../src/checks/check.ts";
import { CHECKS } from "../../src/checks/list.ts";
import { readConfig } from "../../src/config.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createSourceTables } from "../../src/local/source-tables.ts";
import type { Diagnosis } from "../../src/operator-error.ts";
import { eventually } from "../support/eventually.ts";
import { withClient } from "../support/postgres.ts";
import { createProduct } from "../support/product.ts";
import { LEAST_GRANTS } from "../support/roles.ts";
import { findServerTools, startToolServer, type ToolServer } from "../support/server-tools.ts";
import { CASES, type Case } from "./restore-cases.ts";

const tools = findServerTools();
const missing = "no PostgreSQL server with pg_dump and pg_restore below /usr/lib/postgresql";
// CI has them installed; a skip there would go unnoticed.
const skips = tools === null && process.env["CI"] !== "true";
if (skips) process.stderr.write(`restore.test.ts: skipping dump and restore: ${missing}\n`);

const document = readFileSync(
  fileURLToPath(new URL("../../docs/backup-and-restore.md", import.meta.url)),
  "utf8",
);
/** A database with the application's tables and account-sync in it. */
const SOURCE = "crm";

test("the document has each of the cases", () => {
  const rows = [...document.matchAll(/^\| (.*?) \| /gm)].map(([, what]) => what).slice(1);

  expect(rows).toEqual(CASES.map(({ what }) => what));
});

describe.skipIf(skips)(`a dump by the owner of the tables${skips ? ` [${missing}]` : ""}`, () => {
  let server: ToolServer;
  let directory: string;
  const dumps = new Map<string, string>();
  let restores = 0;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "account-sync-dumps-"));
    server = await startToolServer(tools ?? "");
    await superuser(
      "postgres",
      `create role app_owner login; create role app_user login; create role other login; create role backup login;
       create role account_sync login`,
    );
    await superuser("postgres", `create database ${SOURCE}`);
    await superuser(SOURCE, "grant all on schema public to app_owner");
    await withClient(server.url("app_owner", SOURCE), (client) => createSourceTables(client));
    await superuser(
      SOURCE,
      `grant select, insert, update, delete on all tables in schema public to app_user;
       ${LEAST_GRANTS.replaceAll("%role", "account_sync")}`,
    );
    await migrate({ url: server.url("account_sync", SOURCE), info: () => {} });
    await superuser(SOURCE, "insert into m_account (account_no, name) values ('A-1', 'Toko Satu')");
    await superuser("postgres", `create database template_copy template ${SOURCE}`);
    // The rows come from the dump, and not from the copy that it is restored into.
    await superuser("template_copy", "truncate m_account cascade; delete from account_sync.change");
  });

  afterAll(async () => {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  });

  test.each(CASES)("F55 $what", async (one) => {
    const dump = await dumped(one.dump ?? []);
    const target = `restored_${++restores}`;
    await withoutRoles(one, target, async () => {
      await restore(one, dump, target);

      if (one.fails !== undefined)
        await expect(write(target, one.writer ?? "app_user")).rejects.toThrow(one.fails);
      for (const step of one.afterwards ?? []) {
        if (step !== "the privileges again") await superuser(target, step);
        else await restoreEntries(dump, target, (entry) => entry.includes(" ACL "));
      }
      await write(target, one.writer ?? "app_user");
      const url = server.url("account_sync", target);
      const found = await examined(url);
      expect([...found.keys()]).toEqual(one.finds ?? []);
      await obey(found, target, url);

      expect(await capturedAccounts(target, one.writer ?? "app_user")).toEqual(1);
      if (one.sends === true) await sendChange(target, url);
    });
  });

  test("a third role dumps with the grants of the document", async () => {
    const before = await dumpAs("backup");
    const [, grants = ""] = /```sql\n(.*? to backup;\n)```/s.exec(document) ?? [];
    await superuser(SOURCE, grants);
    await superuser(SOURCE, "set role account_sync; create table account_sync.later (id bigint)");
    const after = await dumpAs("backup");
    await superuser(SOURCE, "drop table account_sync.later");

    expect(before.code).toBe(1);
    expect(after).toMatchObject({ code: 0, stderr: "" });
  });

  test.each(["--schema=public", "--exclude-schema=account_sync"])(
    "a restore of %s that stops at its first error comes through with the entries of account-sync left out",
    async (selection) => {
      const dump = await dumped([selection]);
      const target = `restored_${++restores}`;
      await superuser("postgres", `create database ${target}`);

      const { code, stderr } = await restoreEntries(
        dump,
        target,
        (entry) => !/ SCHEMA - public | TRIGGER public .*_capture_/.test(entry),
        ["--single-transaction"],
      );

      expect({ code, stderr }).toMatchObject({ code: 0, stderr: "" });
      await write(target, "app_user");
    },
  );

  test("a plain dump runs its grants one by one: where the role of account-sync is missing, the application has its own", async () => {
    const file = join(directory, "plain.sql");
    const target = `restored_${++restores}`;
    await dumpAs("app_owner", ["--format=plain"], file);
    await superuser("postgres", `create database ${target}`);

    await withoutRoles({ what: "", without: ["account_sync"] }, target, async () => {
      await server.run("psql", [
        "--no-psqlrc",
        `--file=${file}`,
        `--dbname=${server.url("postgres", target)}`,
      ]);
      await write(target, "app_user");
    });
  });

  async function dumped(args: readonly string[]): Promise<string> {
    const known = dumps.get(args.join(" "));
    if (known !== undefined) return known;
    const file = join(directory, `${dumps.size}.dump`);
    expect(await dumpAs("app_owner", args, file)).toMatchObject({ code: 0, stderr: "" });
    dumps.set(args.join(" "), file);
    return file;
  }

  async function dumpAs(
    role: string,
    args: readonly string[] = [],
    file = join(directory, "tried.dump"),
  ) {
    const to = ["--format=custom", `--file=${file}`, `--dbname=${server.url(role, SOURCE)}`];
    return await server.run("pg_dump", [...to, ...args]);
  }

  /** Roles belong to all databases of a server: those that shall be missing have another name meanwhile. */
  async function withoutRoles(
    { without = [] }: Case,
    target: string,
    use: () => Promise<void>,
  ): Promise<void> {
    for (const role of without)
      await superuser("postgres", `alter role ${role} rename to ${role}_elsewhere`);
    try {
      await use();
    } finally {
      for (const role of without) {
        const [made] = await superuser(
          "postgres",
          `select from pg_roles where rolname = '${role}'`,
        );
        if (made !== undefined) {
          await superuser(
            target,
            `reassign owned by ${role} to postgres; drop owned by ${role}; drop role ${role}`,
          );
        }
        await superuser("postgres", `alter role ${role}_elsewhere rename to ${role}`);
      }
    }
  }

  async function restore(
    { into, by = "postgres", restore: args = [], complaints }: Case,
    dump: string,
    target: string,
  ): Promise<void> {
    await superuser(
      "postgres",
      `create database ${target} owner ${by} ${into === undefined ? "" : "template template_copy"}`,
    );
    const { stderr } = await server.run("pg_restore", [
      ...args,
      `--dbname=${server.url(by, target)}`,
      dump,
    ]);
    const said = [...stderr.matchAll(/ERROR: +(.*)/g)].map(([, message = ""]) => message);
    expect(said.filter((message) => complaints?.test(message) !== true)).toEqual([]);
    expect(said.length > 0, stderr).toBe(complaints !== undefined);
  }

  /** The entries of the dump's list of contents that are wanted. */
  async function restoreEntries(
    dump: string,
    target: string,
    isWanted: (entry: string) => boolean,
    args: readonly string[] = [],
  ) {
    const { stdout } = await server.run("pg_restore", ["--list", dump]);
    const list = join(directory, `${target}.list`);
    await writeFile(list, stdout.split("\n").filter(isWanted).join("\n"));
    const to = `--dbname=${server.url("postgres", target)}`;
    return await server.run("pg_restore", [`--use-list=${list}`, ...args, to, dump]);
  }

  /** The application's usual statements; none may fail. */
  async function write(target: string, role: string): Promise<void> {
    await superuser(
      target,
      `set role ${role};
       insert into m_account (account_no, name) values ('A-2', 'Toko Dua'), ('A-3', 'Toko Tiga');
       insert into m_account_pic (account_id, name, phone_no, email) select id, 'Budi', '0812', 'budi@example.com' from m_account;
       update m_account set name = 'Toko Baru' where account_no = 'A-2';
       update m_account_pic set name = 'Budi Baru';
       delete from m_account_pic where account_id in (select id from m_account where account_no = 'A-3');
       delete from m_account where account_no = 'A-3'`,
    );
  }

  async function capturedAccounts(target: string, role: string): Promise<number> {
    await superuser(
      target,
      `set role ${role}; insert into m_account (account_no, name) values ('A-4', 'Toko Empat')`,
    );
    const changes = await superuser(
      target,
      "select from account_sync.change where account_id = (select id::text from m_account where account_no = 'A-4')",
    );
    return changes.length;
  }

  /** Follows the remedies of doctor to the letter until it finds nothing. */
  async function obey(said: Examined, target: string, url: string): Promise<void> {
    let found = said;
    for (let round = 1; found.size > 0; round += 1) {
      const findings = [...found.values()].flat();
      expect(round, JSON.stringify(findings, null, 2)).toBeLessThan(4);

      for (const { remedy } of findings) {
        const sql = /^(?:do|grant|alter|create|drop) [\s\S]*/m.exec(remedy)?.[0];
        if (sql !== undefined) await superuser(target, sql);
      }
      const asks = (command: string) => findings.some(({ remedy }) => remedy.includes(command));
      if (asks("account-sync migrate")) await migrate({ url, info: () => {} });
      if (asks("account-sync backfill"))
        await superuser(target, "select account_sync.request_all()");
      found = await examined(url);
    }
  }

  async function sendChange(target: string, url: string): Promise<void> {
    const product = await createProduct({ on: openDatabase(target) });
    await product.start({ DATABASE_URL: url });
    await superuser(
      target,
      "update m_account set name = 'Toko Empat Baru' where account_no = 'A-4'",
    );

    await eventually(() =>
      expect(product.requests().map(({ body }) => JSON.stringify(body))).toContainEqual(
        expect.stringContaining("Toko Empat Baru"),
      ),
    );
  }

  function openDatabase(name: string) {
    return {
      name,
      url: server.url("postgres", name),
      pool: new pg.Pool({ connectionString: server.url("postgres", name), max: 1 }),
      query: async () => [],
      close: async () => {},
    };
  }

  async function superuser(database: string, sql: string): Promise<unknown[]> {
    return await withClient(server.url("postgres", database), async (client) => {
      // Several statements have several results.
      const result: pg.QueryResult | pg.QueryResult[] = await client.query(sql);
      return [result].flat().at(-1)?.rows ?? [];
    });
  }
});

/** By check; those that find nothing are left out. */
type Examined = ReadonlyMap<string, readonly Diagnosis[]>;

async function examined(url: string): Promise<Examined> {
  const config = readConfig({ DATABASE_URL: url, CUSTOMER_API_URL: "https://api.example.com" });
  return await withCheckContext(config, url, async (context) => {
    const found = new Map<string, readonly Diagnosis[]>();
    for (const check of CHECKS) {
      const result = await lookAt(check, context);
      if ("error" in result) found.set(`${check.name} (not checked)`, []);
      else if (result.findings.length > 0) found.set(check.name, result.findings);
    }
    return found;
  });
}
