/** Where a statement ends, where a backslash command begins, and what is still open. */
import { expect, test } from "vitest";
import { createStatementReader } from "../../src/local/sql-statements.ts";

test.each<[string, string[], string | null]>([
  ["select 1;", ["select 1"], null],
  ["select 1; select 2;", ["select 1", " select 2"], null],
  ["select 1", [], ";"],
  ["select 1; select", ["select 1"], ";"],
  [";;", [], null],
  ["-- only a comment; nothing", [], null],
  ["/* only; a comment */", [], null],
  ["select 'a;b';", ["select 'a;b'"], null],
  ["select 'it''s;';", ["select 'it''s;'"], null],
  ["select 'a\\';", ["select 'a\\'"], null],
  [String.raw`select E'it\'s;';`, [String.raw`select E'it\'s;'`], null],
  [String.raw`select e'\\';`, [String.raw`select e'\\'`], null],
  ['select "a;""b";', ['select "a;""b"'], null],
  ["select $$a;'b$$;", ["select $$a;'b$$"], null],
  ["select $f$a;$$b$f$;", ["select $f$a;$$b$f$"], null],
  ["select a$b$c;", ["select a$b$c"], null],
  ["select $1;", ["select $1"], null],
  ["select /* a /* b; */ c; */ 1;", ["select /* a /* b; */ c; */ 1"], null],
  [
    "create rule r as on insert to t do (select 1; select 2);",
    ["create rule r as on insert to t do (select 1; select 2)"],
    null,
  ],
  [
    "create function f() returns int begin atomic select 1; select case when true then 2 end; end; select 3;",
    [
      "create function f() returns int begin atomic select 1; select case when true then 2 end; end",
      " select 3",
    ],
    null,
  ],
  [
    "CREATE PROCEDURE p() BEGIN /* ; */ ATOMIC select (case 1 when 1 then case 2 when 2 then 3 end end); END;",
    [
      "CREATE PROCEDURE p() BEGIN /* ; */ ATOMIC select (case 1 when 1 then case 2 when 2 then 3 end end); END",
    ],
    null,
  ],
  ["create function f() begin atomic select 1;", [], "begin"],
  ["begin; select 1; end;", ["begin", " select 1", " end"], null],
  ["begin atomic; select 1;", ["begin atomic", " select 1"], null],
  ["select case 1 when 1 then 2 end;", ["select case 1 when 1 then 2 end"], null],
  [
    "select 1 -- a comment; ends at\r, as the server has it;",
    ["select 1 -- a comment; ends at\r, as the server has it"],
    null,
  ],
  ["select 1 -- not; at\u2028;", [], ";"],
  ["select éE'a\\';", ["select éE'a\\'"], null],
  ["\u00a0;", ["\u00a0"], null],
  ["\\d m_account\r", ["\\d m_account"], null],
  ["select (1", [], "("],
  ["select 'open;", [], "'"],
  ["select E'open;", [], "'"],
  ['select "open;', [], '"'],
  ["do $$ begin;", [], "$$"],
  ["do $body$ begin; $$", [], "$body$"],
  ["/* open;", [], "/*"],
  ["\\d", ["\\d"], null],
  ["  \\d m_account  ", ["\\d m_account"], null],
  ["select 1; \\dt", ["select 1", "\\dt"], null],
  ["select 1 \\g", ["\\g"], ";"],
  [String.raw`select '\d';`, [String.raw`select '\d'`], null],
  [String.raw`select $$\d$$;`, [String.raw`select $$\d$$`], null],
  [String.raw`select 1 -- \d`, [], ";"],
])("%s", (line, pieces, open) => {
  const reader = createStatementReader();

  expect(reader.feed(line).map(({ text }) => text)).toEqual(pieces);
  expect(reader.open).toBe(open);
});

test.each([
  ["copy t to stdout;", "copy"],
  ["COPY t (a, b) FROM StdIn WITH (FORMAT csv);", "copy"],
  ["/* ; */ copy (select 'from' from t) to /* the */ STDOUT;", "copy"],
  ["copy t from stdin where a > 1;", "copy"],
  ["copy t to '/tmp/stdout';", "statement"],
  ["copy stdout to program 'cat';", "statement"],
  ["copy (select a from stdin) to '/tmp/t';", "statement"],
  ["select * from stdin;", "statement"],
  ["select 'copy t to stdout';", "statement"],
])("%s is a %s", (line, kind) => {
  const reader = createStatementReader();

  expect(reader.feed(line).map((piece) => piece.kind)).toEqual([kind]);

  reader.feed(line.slice(0, -1));
  expect(reader.rest.kind).toBe(kind);
});

test("what is open goes on over lines, and is forgotten when it is cleared", () => {
  const reader = createStatementReader();

  expect(reader.feed("select 'a;")).toEqual([]);
  expect(reader.feed("\\d")).toEqual([]);
  expect(reader.feed("b';")).toEqual([{ kind: "statement", text: "select 'a;\n\\d\nb'" }]);

  reader.feed("select $$ (");
  reader.clear();

  expect(reader.feed("select 1;")).toEqual([{ kind: "statement", text: "select 1" }]);
});

test("a statement over many lines is read in a time that grows with it, not with its square", () => {
  const reader = createStatementReader();
  const lines = 50_000;

  reader.feed("insert into t values");
  for (let line = 1; line < lines; line += 1) reader.feed(`(${line}, 'a name; with a semicolon'),`);
  const [statement] = reader.feed("(0, 'the last');");

  expect(statement?.text.split("\n")).toHaveLength(lines + 1);
});
