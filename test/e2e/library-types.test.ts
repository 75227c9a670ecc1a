/** The library's types hold what its results do: whoever reads them needs no cast. */
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { SyncResult } from "../../src/index.ts";
import { call, narrow, read } from "../support/typed-caller.ts";

const checkout = fileURLToPath(new URL("../../", import.meta.url));

test("results are read and narrowed without a cast: it compiles in strict mode", async () => {
  const folder = await mkdtemp(join(tmpdir(), "account-sync-types-"));
  try {
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({
        extends: join(checkout, "tsconfig.json"),
        compilerOptions: { typeRoots: [join(checkout, "node_modules/@types")] },
        include: [],
        files: [join(checkout, "test/support/typed-caller.ts")],
      }),
    );
    const manifest = createRequire(import.meta.url).resolve("typescript/package.json");
    const tsc = [join(dirname(manifest), "bin/tsc"), "-p", folder];

    const { stdout } = await promisify(execFile)(process.execPath, tsc).catch(
      (error: { stdout: string }) => error,
    );

    expect(stdout).toBe("");
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("keys of other results are undefined", async () => {
  const refused: SyncResult = {
    success: false,
    error: "External API Error: Invalid data format",
    details: {
      code: "E1",
      httpStatus: 422,
      errorClass: "rejected",
      delivery: "not_applied",
      retryAfterMs: null,
      explanation: "",
    },
    customerData: {} as never,
  };

  expect(read(refused)).toMatchObject({ isWritten: undefined, code: "E1", httpStatus: 422 });
  expect(narrow(refused)).toBe("rejected");
  const library = { syncCustomerToExternalApi: async () => refused } as never;
  expect(await call(library, false)).toEqual([refused, refused, refused]);
});
