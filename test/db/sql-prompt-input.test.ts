/** What the SQL prompt makes of the bytes of a pipe: statements, in which nothing is changed, or an error. */
import { Readable } from "node:stream";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/postgres.ts";
import { openPrompt, type PromptGiven, pipeInto } from "../support/sql-prompt.ts";

let database: TestDatabase;
const pipe = (text: string | Buffer, given?: PromptGiven) => pipeInto(database.url, text, given);
const open = (given?: PromptGiven) => openPrompt(database.url, given);

beforeAll(async () => {
  database = await createDatabase({ sourceTables: false });
});

/** What a line reader, a decoder or a lexer could take for something else is as likely as all other characters. */
const text = fc
  .array(
    fc.oneof(
      fc.constantFrom(..."\n\r\t\v\f\u0085\u2028\u2029\ufeff\u00a0\u001a\u001b;'\"\\$-/*(é😀"),
      fc.constantFrom("\r\n", "--", "$q", "\\q", "\n\\q\n", "\nexit\n", "begin atomic"),
      fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join("").replaceAll("\0", ""));
const toLiteral = {
  plain: (value: string) => `'${value.replaceAll("'", "''")}'`,
  escaped: (value: string) => `E'${value.replaceAll(/['\\]/g, "\\$&")}'`,
  dollar: (value: string) =>
    value.includes("$q") || value.endsWith("$") ? toLiteral.plain(value) : `$q$${value}$q$`,
};

test("any text literal comes into the database byte by byte, wherever the pipe is cut", async () => {
  await database.query("create table piped (n int, value text)");
  const literal = fc.record({
    value: text,
    form: fc.constantFrom<(keyof typeof toLiteral)[]>("plain", "escaped", "dollar"),
    after: fc.constantFrom(";", ";\n", ";\r\n", "\r;\r", " -- it's;\r;", "\n\n;"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(literal, { maxLength: 8 }), fc.nat(), async (literals, cut) => {
      const bytes = Buffer.from(
        literals
          .map(
            ({ value, form, after }, n) =>
              `insert into piped values (${n}, ${toLiteral[form](value)})${after}`,
          )
          .join(""),
      );
      const script = open();
      const at = cut % (bytes.length + 1);
      script.input.write(bytes.subarray(0, at));
      script.input.end(bytes.subarray(at));

      expect(await script.code, script.printed()).toBe(0);
      const stored = await database.query(
        "with stored as (delete from piped returning n, value) select value from stored order by n",
      );
      expect(stored).toEqual(literals.map(({ value }) => ({ value })));
    }),
    { numRuns: 60 },
  );
});

test.each([
  ["an invalid byte", Buffer.from([0xff]), "is not UTF-8"],
  ["half a character", Buffer.from([0xe2, 0x80]), "is not UTF-8"],
  ["a surrogate", Buffer.from([0xed, 0xa0, 0x80]), "is not UTF-8"],
  ["a zero byte", Buffer.from([0]), "has a zero byte, which no text in PostgreSQL has"],
])("%s is an error that names the line, and its statement is not run", async (_, bytes, why) => {
  await database.query("create table if not exists refused (value text)");
  const before = Buffer.from("select 1 as one;\ninsert into refused values ('a\n");
  const after = Buffer.from("');\ninsert into refused values ('after');\n");

  const { code, printed } = await pipe(Buffer.concat([before, bytes, after]));

  expect(code).toBe(1);
  expect(printed).toBe(
    `one\n---\n1\n(1 row)\nERROR: Line 3 of the input ${why}: its statement was not run, nor what comes after it.\n`,
  );
  expect(await database.query("select value from refused")).toEqual([]);
});

test.each(["utf16le", "latin1"] as const)("a script in %s is refused", async (encoding) => {
  const { code, printed } = await pipe(Buffer.from("\ufeffselect 'é';", encoding));

  expect(code).toBe(1);
  expect(printed).toMatch(/^ERROR: Line 1 of the input [^\n]+\n$/);
});

test("a pipe may begin with a byte order mark, and keeps every other one", async () => {
  const { code, printed } = await pipe("\ufeffselect encode(convert_to('\ufeff', 'UTF8'), 'hex');");

  expect(printed).toContain("efbbbf");
  expect(code).toBe(0);
});

test("lines may end in CR LF", async () => {
  const { code, printed } = await pipe("\\dn\r\nselect 1\r\nas one;\r\nexit\r\nselect 2;");

  expect(printed).toMatch(/^schema[\s\S]*\none\n-+\n1\n\(1 row\)\n$/);
  expect(code).toBe(0);
});

test("input that cannot be read is an error", async () => {
  const input = new Readable({
    read() {
      this.destroy(new Error("EIO: i/o error, read"));
    },
  });
  const script = open({ input });

  expect(await script.code).toBe(1);
  expect(script.printed()).toBe("ERROR: EIO: i/o error, read\n");
});
