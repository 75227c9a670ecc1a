/** The SQL prompt, fed by a pipe as in `echo "select 1;" | npm run sql`, and typed into as at a terminal. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { PassThrough } from "node:stream";
import { beforeAll, describe, expect, test } from "vitest";
import { eventually } from "../support/eventually.ts";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { openPrompt, type PromptGiven, pipeInto } from "../support/sql-prompt.ts";

let database: TestDatabase;
const pipe = (text: string, given?: PromptGiven) => pipeInto(database.url, text, given);
const open = (given?: PromptGiven) => openPrompt(database.url, given);

beforeAll(async () => {
  database = await createDatabase({ sourceTables: false });
});

test("a piped statement prints a table", async () => {
  const { code, printed } = await pipe(
    "select 1 as id, 'PT Contoh' as name, null as uuid_be union all select 20, 'CV', 'ext-1' order by id;",
  );

  expect(printed).toBe(
    [
      "id | name      | uuid_be",
      "---+-----------+--------",
      "1  | PT Contoh | null",
      "20 | CV        | ext-1",
      "(2 rows)",
      "",
    ].join("\n"),
  );
  expect(code).toBe(0);
});

test("values are shown as the server writes them", async () => {
  const { printed } = await pipe("select 12.50::numeric, date '2026-01-31', true;");

  expect(printed).toMatch("12.50   | 2026-01-31 | t");
});

test("a semicolon inside a string, a name, a comment or a function body ends nothing", async () => {
  const { code, printed } = await pipe(`
    select 'a;b' as "c;d"; -- e;f
    /* g;h */ do $$ begin perform 1; end $$;
    select E'it\\'s; fine' as escaped
  `);

  expect(printed).toMatch("a;b");
  expect(printed).toMatch("DO");
  expect(printed).toMatch("it's; fine");
  expect(code).toBe(0);
});

test("an error ends a script with a failure, and nothing after it runs", async () => {
  const { code, printed } = await pipe("select * from nowhere; create table later (id int);");

  expect(printed).toMatch('ERROR 42P01: relation "nowhere" does not exist');
  expect(await database.query("select to_regclass('later') as later")).toEqual([{ later: null }]);
  expect(code).toBe(1);
});

test("at a terminal an error is shown and the prompt goes on, until \\q", async () => {
  const { code, printed } = await pipe("select * from nowhere;\nselect 41\n+ 1 as sum;\n\\q\n", {
    isTTY: true,
  });

  expect(printed).toMatch("ERROR 42P01");
  expect(printed).toMatch(/sum\s+---\s+42\s+\(1 row\)/);
  expect(code).toBe(0);
});

test("\\? says that the first error ends a pipe, and what needs psql", async () => {
  const { printed } = await pipe("\\?");

  expect(printed).toContain("the first error ends it with exit code 1, and nothing after it runs.");
  expect(printed).toContain("COPY from STDIN or to STDOUT needs psql.");
});

test("notifications are shown", async () => {
  const { printed } = await pipe("listen bell; select pg_notify('bell', 'ding');");

  expect(printed).toMatch("NOTIFY bell, 'ding'");
});

describe("a backslash command", () => {
  beforeAll(async () => {
    await database.query(`create schema shop; create table shop.m_item (
      id uuid primary key, name text not null default 'x', parent uuid references shop.m_item)`);
  });

  test.each([
    ["\\d", /shop +\| m_item +\| table/],
    ["\\dt", /shop +\| m_item +\| table/],
    ["\\dt shop.*", /shop +\| m_item +\| table/],
    ["\\dt+ M_ITEM;", /shop +\| m_item +\| table/],
    ["\\dt nowhere", /\(0 rows\)/],
    ["\\dn", /^shop/m],
    ["\\d m_item", /^shop\.m_item\n.*\n.*\nid +\| uuid +\| not null/m],
    ["\\d shop.m_item", /name +\| text +\| not null +\| 'x'::text/],
    ['\\d shop."m_item"', /index: CREATE UNIQUE INDEX m_item_pkey/],
    ["\\d m_*", /constraint: m_item_parent_fkey FOREIGN KEY/],
    ["\\?", /\\d <name>/],
    ["help", /\\d <name>/],
    ["select 1 as one; \\dn", /one[\s\S]*shop/],
  ])("%s answers, in a pipe, too", async (line, answer) => {
    const { code, printed } = await pipe(`${line}\nselect 'after' as word;`);

    expect(printed).toMatch(answer);
    expect(printed).toContain("after");
    expect(code).toBe(0);
  });

  test.each([
    ["\\x", "ERROR: \\x is not known here: \\? lists what is, and psql has all the others."],
    ["\\", "ERROR: \\ is not known here: \\? lists what is, and psql has all the others."],
    ["\\copy t from 'f'", "ERROR: \\copy is not known here"],
    ["select 1 \\g", "ERROR: \\g is not known here"],
    ["\\d nowhere", "ERROR: There is no table or view nowhere: \\d lists them."],
  ])("%s is one sentence: an error in a pipe, and no end at a terminal", async (line, sentence) => {
    const piped = await pipe(`${line}\n;select 'after' as word;`);
    const typed = await pipe(`${line}\n;select 'after' as word;\n`, { isTTY: true });

    expect(piped.printed).toMatch(/^[^\n]+\n$/);
    expect(piped.printed).toContain(sentence);
    expect(piped.code).toBe(1);
    expect(typed.printed).toContain(sentence);
    expect(typed.printed).toMatch(/word\s+-+\s+after/);
    expect(typed.code).toBe(0);
  });

  test.each(["\\q", "exit", "quit"])("%s leaves, and nothing after it runs", async (line) => {
    const { code, printed } = await pipe(`${line}\nselect 'after';`);

    expect({ code, printed }).toEqual({ code: 0, printed: "" });
  });
});

describe("the end of the input", () => {
  test.each([
    ["select 'open", "a string (')"],
    ['select "open', 'a quoted name (")'],
    ["do $body$ begin", "a dollar quote ($body$)"],
    ["select 1 /* open", "a comment (/*)"],
    ["select (1", "parentheses"],
  ])("%s: the statement is not run, and it says why", async (text, within) => {
    const { code, printed } = await pipe(`select 1 as one;\n${text}; select 2 as two;\n`);

    expect(printed).toContain("one");
    expect(printed).not.toContain("two");
    expect(printed).toContain(`ERROR: the input ends within ${within}: its statement was not run.`);
    expect(code).toBe(1);
  });

  test("in a pipe runs a statement whose semicolon is missing; at a terminal it does not", async () => {
    const piped = await pipe("create table from_pipe (id int)");
    const typed = await pipe("create table typed (id int)", { isTTY: true });

    expect(piped).toEqual({ code: 0, printed: "CREATE\n" });
    expect(typed.printed).toContain("The unfinished statement was not run.");
    expect(typed.code).toBe(0);
    expect(await database.query("select to_regclass('typed') as typed")).toEqual([{ typed: null }]);
  });
});

test("a function whose body is statements is created whole", async () => {
  const { code, printed } = await pipe(`
    create function body(g int) returns int begin atomic
      select 1;
      select case when g = 1 then case when true then 41 end else 2 end + 1;
    end;
    select body(1) as answer;`);

  expect(printed).toMatch(/answer\n-+\n42\n/);
  expect(code).toBe(0);
});

describe("COPY through the connection", () => {
  test.each([
    "copy pg_class to stdout;",
    "COPY (select 1) TO StdOut WITH (FORMAT csv)",
    "begin; create temporary table t (a int); copy t from stdin;\n1\n\\.\n",
    "copy nowhere from\nstdin;",
    // Here the server sees two statements where the prompt sees a string.
    "set standard_conforming_strings = off; select 'a\\'' ; copy pg_class to stdout --';",
    "set standard_conforming_strings = off; create temporary table t (a int); select 'a\\'' ; copy t from stdin --';",
  ])("%s is one sentence, and ends a pipe", async (statement) => {
    const errors = new PassThrough();
    const script = open({ errors });
    script.input.end(`${statement}\nselect 'after';`);

    expect(await script.code).toBe(1);
    expect(String(errors.read())).toMatch(/^(?:WARNING: .*\n)*ERROR: COPY through[^\n]*\n$/);
    expect(script.printed()).not.toContain("after");
  });

  test("at a terminal the prompt goes on", async () => {
    const { code, printed } = await pipe("copy pg_class to stdout;\nselect 6 * 7 as answer;\n", {
      isTTY: true,
    });

    expect(printed).toContain("ERROR: COPY through");
    expect(printed).toMatch(/answer\s+-+\s+42/);
    expect(code).toBe(0);
  });
});

test("several results of what is one statement to the prompt are all shown", async () => {
  const { code, printed } = await pipe(
    "set standard_conforming_strings = off; select 'a\\'' as one; select 2 as two --';",
  );

  expect(printed).toMatch(/one\n[\s\S]*two\n-+\n2\n/);
  expect(code).toBe(0);
});

test("one long value does not make every row as long", async () => {
  const { code, printed } = await pipe(
    "select case when g = 1 then repeat('x', 1000000) end as v, g from generate_series(1, 1000) g;",
  );

  expect(printed).toMatch(/^x{1000000} \| 1$/m);
  expect(printed.length).toBeLessThan(1_300_000);
  expect(code).toBe(0);
});

test("control characters are made visible at a terminal, and go on unchanged to a pipe", async () => {
  const script = `
    do $$ begin raise notice '%', E'\\x1b[1m'; end $$;
    select E'\\x1b[2J' as "\x1b[3m";
    listen bell; select pg_notify('bell', E'\\x1b[4m');
    select E'\\x1b[5m'::int;`;

  const piped = await pipe(script);
  const shown = await pipe(script, { isShownAtTerminal: true });

  for (const number of [1, 2, 3, 4, 5]) expect(piped.printed).toContain(`\x1b[${number}`);
  expect(shown.printed.replaceAll(/^-+$/gm, "")).toBe(
    piped.printed.replaceAll("\x1b", "\\x1b").replaceAll(/^-+$/gm, ""),
  );
});

describe("Ctrl-C", () => {
  const isRunning = () =>
    eventually(async () =>
      expect(
        await database.query(
          "select from pg_stat_activity where query like 'select pg_sleep(60)%'",
        ),
      ).toHaveLength(1),
    );

  test("at a terminal drops what was typed, and cancels what runs", async () => {
    const terminal = open({ isTTY: true });
    terminal.input.write("select 'never ends\n");
    await eventually(() => expect(terminal.printed()).toContain("'> "));
    terminal.input.write("\x03");
    await eventually(() => expect(terminal.printed()).toContain("^C"));
    terminal.input.write("select pg_sleep(60);\n");
    await isRunning();

    terminal.input.write("\x03");
    await eventually(() => expect(terminal.printed()).toContain("ERROR 57014"));
    terminal.input.end("select 6 * 7 as answer;\n");

    expect(await terminal.code).toBe(0);
    expect(terminal.printed()).toMatch(/answer\s+-+\s+42/);
  });

  test("in a pipe cancels the statement and ends it; nothing after it runs", async () => {
    const interrupted = new AbortController();
    const script = open({ interrupted: interrupted.signal });
    script.input.write("select pg_sleep(60);\nselect 'after';\n");
    await isRunning();

    interrupted.abort();

    expect(await script.code).toBe(1);
    expect(script.printed()).toMatch(/^ERROR 57014: .*\n$/);
  });

  test("in a pipe drops the statement that has not ended", async () => {
    const interrupted = new AbortController();
    const script = open({ interrupted: interrupted.signal });
    script.input.write("select 1 as one;\ncreate table never_ended (id int)\n");
    await eventually(() => expect(script.printed()).toContain("(1 row)"));

    interrupted.abort();

    expect(await script.code).toBe(1);
    expect(await database.query("select to_regclass('never_ended') as found")).toEqual([
      { found: null },
    ]);
  });
});

test("of a pipe, errors and notices go apart from what is for a program", async () => {
  const errors = new PassThrough();
  const script = open({ errors });

  script.input.end("do $$ begin raise notice 'noticed'; end $$; select 1 as one; select 1/0;");

  expect(await script.code).toBe(1);
  expect(script.printed()).toMatch(/^DO\none\n-+\n1\n\(1 row\)\n$/);
  expect(String(errors.read())).toMatch(/^NOTICE: noticed\nERROR 22012: division by zero\n$/);
});

test("a server that is not there is an error, not a stack", async () => {
  const { code, printed } = await pipe("select 1;", { url: "postgres://u:p@127.0.0.1:1/none" });

  expect(printed).toMatch(/^ERROR: .*ECONNREFUSED/);
  expect(code).toBe(1);
});

test("a server that accepts and never answers is given up", async () => {
  const silent = createServer(() => {}).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;

  const { code, printed } = await pipe("select 1;", { url: `postgres://u:p@127.0.0.1:${port}/x` });
  silent.close();

  expect(printed).toMatch(/^ERROR: .*does not answer/);
  expect(code).toBe(1);
});
