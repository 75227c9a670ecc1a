/** What the sandbox remembers: its customers and the idempotency keys it has answered, kept in a JSON file if asked to. */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { z } from "zod";
import {
  createSandboxCustomers,
  type SandboxAnswer,
  type SandboxCustomer,
  type SandboxCustomers,
} from "./sandbox-customers.ts";
import { createSandboxKeys, type SandboxKeys } from "./sandbox-keys.ts";

export interface SandboxState {
  readonly customers: SandboxCustomers;
  readonly keys: SandboxKeys;
  clear(): void;
  /** Resolves once everything so far is in the file; at once without a file. */
  saved(): Promise<void>;
}

export async function openSandboxState({
  dataFile,
  echo,
  numbersIds,
}: {
  readonly dataFile: string | null;
  readonly echo: boolean;
  readonly numbersIds: boolean;
}): Promise<SandboxState> {
  const data = dataFile === null ? NOTHING : await readData(dataFile);
  let isChanged = false;
  const onChanged = () => {
    isChanged = true;
  };
  const customers = createSandboxCustomers(data.customers, { echo, numbersIds, onChanged });
  const keys = createSandboxKeys(data.keys, { onChanged });

  // Changes that come while a write runs share the next one, so a thousand creates are a few writes.
  let writing: Promise<void> | null = null;
  let next: Promise<void> | null = null;

  async function saved(): Promise<void> {
    if (dataFile === null) return;
    if (writing !== null) {
      next ??= writing
        .catch(() => undefined)
        .then(() => {
          next = null;
          return saved();
        });
      return next;
    }
    if (!isChanged) return;

    isChanged = false;
    writing = writeData(dataFile, { customers: customers.list(), keys: keys.list() }).finally(
      () => {
        writing = null;
      },
    );
    return writing;
  }

  return {
    customers,
    keys,
    clear() {
      customers.clear();
      keys.clear();
    },
    saved,
  };
}

/** Only the outline is checked: no other program writes this file. */
const dataShape = z.object({
  customers: z.array(
    z.custom<SandboxCustomer>((value) => (value as SandboxCustomer | null)?.id !== undefined),
  ),
  keys: z.array(
    z.tuple([z.string(), z.object({ fingerprint: z.string(), answer: z.custom<SandboxAnswer>() })]),
  ),
});

type SandboxData = z.infer<typeof dataShape>;

const NOTHING: SandboxData = { customers: [], keys: [] };

async function readData(dataFile: string): Promise<SandboxData> {
  await mkdir(dirname(dataFile), { recursive: true });
  let content: string;
  try {
    content = await readFile(dataFile, "utf8");
  } catch (error) {
    if (isMissing(error)) return NOTHING;
    throw error;
  }

  try {
    return dataShape.parse(JSON.parse(content));
  } catch (error) {
    throw new Error(`${dataFile} is not a file of the sandbox API; move it away to start afresh`, {
      cause: error,
    });
  }
}

async function writeData(
  dataFile: string,
  data: Pick<SandboxData, "customers"> & { readonly keys: ReturnType<SandboxKeys["list"]> },
): Promise<void> {
  const text = JSON.stringify(data);
  try {
    await writeFile(`${dataFile}.new`, text, { mode: 0o600 });
    // Renamed, so that a kill in the middle leaves the old file whole.
    await rename(`${dataFile}.new`, dataFile);
  } catch (error) {
    // The folder was removed on purpose: it is not made again, and the sandbox goes on without it.
    if (!isMissing(error)) throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
