/** Ids in suggested commands: a shell and the command line give back exactly what the account is called. */
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { callOn, toShellWord } from "../../src/call-on.ts";
import { adviseOn } from "../../src/cli/account-advice.ts";
import { toPasteableCall } from "../../src/invocation.ts";

test.each([
  ["7", "account-sync sync 7"],
  [
    "00000000-0000-4000-8000-000000000000",
    "account-sync sync 00000000-0000-4000-8000-000000000000",
  ],
  ["a b; touch x", "account-sync sync 'a b; touch x'"],
  ["$(touch /tmp/x)", "account-sync sync '$(touch /tmp/x)'"],
  ["it's", "account-sync sync 'it'\\''s'"],
  ["-5", "account-sync sync -- -5"],
  ["--all", "account-sync sync -- --all"],
  ["-a b", "account-sync sync -- '-a b'"],
  ["", "account-sync sync ''"],
])("%s", (id, call) => {
  expect(callOn("sync", id)).toBe(call);
});

test("options go before an id that looks like one", () => {
  expect(callOn("retry", "7", ["--discard"])).toBe("account-sync retry 7 --discard");
  expect(callOn("forget", "-5", ["--tier", "a b"])).toBe("account-sync forget --tier 'a b' -- -5");
});

test("a shell gives every id back", () => {
  const characters = fc.oneof(
    fc.constantFrom(..." '\"`$(){}[]*?!#~;&|<>\\\n\t-="),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 }),
  );
  const ids = fc.array(characters, { maxLength: 12 }).map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.array(ids.filter(isPossible), { minLength: 1, maxLength: 40 }), (some) => {
      // Many in one shell: a process for each would take long.
      const words = some.map(toShellWord).join(" ");
      const given = execFileSync("sh", ["-c", `printf '%s\\0' ${words}`], { encoding: "utf8" });
      expect(given.split("\0").slice(0, -1)).toEqual(some);
    }),
    { numRuns: 30 },
  );
});

test("a call stays whole where it is translated, also over lines", () => {
  expect(toPasteableCall(callOn("sync", "a\nb"), { by: "npm" })).toBe("npm start -- sync 'a\nb'");
  expect(toPasteableCall(callOn("sync", "-5"), { by: "npm" })).toBe("npm start -- sync -- -5");
});

test("what is advised for an account is quoted", () => {
  const { commands } = adviseOn(
    {
      id: "--all",
      state: "parked",
      errorClass: "validation",
      isThere: true,
      hasChanges: false,
      wasSynced: false,
      error: null,
      undecided: null,
      parent: null,
    },
    { at: "", daemons: 1, daemonsStopped: 0, obstacle: null },
  );

  expect(commands).toEqual(["account-sync preview -- --all", "account-sync retry -- --all"]);
});

/** PostgreSQL and the arguments of a process know no zero byte, and both have whole characters. */
function isPossible(id: string): boolean {
  return !id.includes("\0") && id.isWellFormed();
}
