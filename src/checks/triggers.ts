/**
 * The capture triggers: each is present and enabled, and its function is the one that migrate would make for the tables as they are now.
 * The functions that migrate makes them with are compared with the files of this version.
 */
import { readdirSync, readFileSync } from "node:fs";
import { errorCode } from "../db/error-code.ts";
import { sqlDirectory } from "../db/queries.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";

interface PlannedTrigger {
  readonly table: string;
  readonly trigger: string;
  readonly function: string;
  readonly isPresent: boolean;
  readonly isUnchanged: boolean;
  readonly mayBeCopied: boolean;
  readonly disabledOn: readonly { readonly table: string; readonly onlyReplicas: boolean }[];
}

const MIGRATE = "Run `account-sync migrate`, which puts it right.";

export async function lookAtTriggers({ db }: CheckContext): Promise<Diagnosis[]> {
  const changed = await findChangedFunctions(db);
  if (changed.length > 0) return changed;

  const triggers = await readTriggers(db);
  if (triggers === null) return [notInstalled];
  const [session] = await db.run<{ replicationRole: string }>("check_server");
  return [
    ...(session?.replicationRole === "replica" ? [switchedOffForAll] : []),
    ...triggers.flatMap(findWrong),
  ];
}

const notInstalled: Diagnosis = {
  problem: "There are no capture triggers yet: no change is captured.",
  remedy: "Run `account-sync migrate`; `account-sync start` does it, too.",
};

const switchedOffForAll: Diagnosis = {
  problem:
    "session_replication_role is replica by default here, so that no trigger fires and no change is captured.",
  remedy:
    "Set session_replication_role back to origin for the database or the server, then run `account-sync backfill`.",
};

/** null: migrate has not run yet, so there is no plan. */
async function readTriggers(db: CheckContext["db"]): Promise<PlannedTrigger[] | null> {
  try {
    return await db.run<PlannedTrigger>("check_triggers");
  } catch (error) {
    // 3F000: no such schema, 42883: no such function.
    if (/^(?:3F000|42883)$/.test(errorCode(error) ?? "")) return null;
    throw error;
  }
}

function findWrong(planned: PlannedTrigger): Diagnosis[] {
  const { table, trigger } = planned;
  const disabled = planned.disabledOn.map(({ table: where, onlyReplicas }) => ({
    problem: `Trigger ${trigger} on ${where} is ${onlyReplicas ? "enabled for replication only" : "disabled"}: changes of ${where} go unnoticed.`,
    remedy: `alter table ${where} enable trigger ${trigger}; then run \`account-sync backfill\` for what changed meanwhile.`,
  }));
  if (!planned.isPresent) {
    return [
      {
        problem: `Trigger ${trigger} on public.${table} is missing or not the one that migrate makes: changes go unnoticed.`,
        remedy:
          "Run `account-sync migrate`, then `account-sync backfill` for what changed meanwhile.",
      },
    ];
  }
  const uncopied = planned.mayBeCopied
    ? []
    : [
        {
          problem: `The owner of public.${table} cannot add partitions to it: it has changed since the last migrate, and may not copy trigger ${trigger}.`,
          remedy: MIGRATE,
        },
      ];
  if (planned.isUnchanged) return [...disabled, ...uncopied];
  return [
    ...disabled,
    ...uncopied,
    {
      problem: `Function account_sync.${planned.function} is not what migrate would make for public.${table} as it stands: it was replaced by hand, or columns were added or removed since.`,
      remedy: MIGRATE,
    },
  ];
}

async function findChangedFunctions(db: CheckContext["db"]): Promise<Diagnosis[]> {
  const rows = await db.run<{ name: string; bodies: readonly string[] }>("check_functions");
  if (rows.length === 0) return [];

  const installed = new Map(rows.map(({ name, bodies }) => [name, bodies]));
  const names = [...readShippedFunctions()]
    .filter(([name, bodies]) => bodies.some((body) => !installed.get(name)?.includes(body)))
    .map(([name]) => `account_sync.${name}`);
  if (names.length === 0) return [];
  return [
    {
      problem: `${names.join(", ")} ${names.length === 1 ? "is" : "are"} not what this account-sync brings: replaced by hand, or by another version.`,
      remedy: `${MIGRATE} If it comes back, a migration made the function, and only \`account-sync uninstall\` and a new migrate bring it back.`,
    },
  ];
}

/** Name → bodies; several functions may have one name. The last file that makes a function counts. */
function readShippedFunctions(): Map<string, string[]> {
  const files = [
    ...readdirSync(`${sqlDirectory}migrations`)
      .filter((file) => file.endsWith(".sql"))
      .sort((one, other) => Number.parseInt(one, 10) - Number.parseInt(other, 10))
      .map((file) => `migrations/${file}`),
    "capture/install_capture.sql",
    "functions/repair_identities.sql",
  ];
  const shipped = new Map<string, string[]>();
  for (const file of files) {
    const text = readFileSync(sqlDirectory + file, "utf8");
    const made = [
      ...text.matchAll(
        /^create (?:or replace )?function account_sync\.(\w+)\([\s\S]*?\bas\s+(\$\w*\$)([\s\S]*?)\2/gm,
      ),
    ].map(([, name = "", , body = ""]) => ({ name, body }));
    for (const [name, bodies] of Map.groupBy(made, (one) => one.name)) {
      shipped.set(
        name,
        bodies.map(({ body }) => body),
      );
    }
  }
  return shipped;
}
