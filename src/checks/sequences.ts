/** Whether the sequences of our schema are ahead of their tables: one that is not gives out ids that are there already. */
import { errorCode } from "../db/error-code.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";

interface LaggingSequence {
  readonly table: string;
  readonly sequence: string;
  readonly last: string;
  readonly highest: string;
}

export async function lookAtSequences({ db }: CheckContext): Promise<Diagnosis[]> {
  return (await readLagging(db)).map(({ table, sequence, last, highest }) => ({
    problem: `Sequence ${sequence} is at ${last}, and ${table} has rows up to ${highest}: ids would be given out twice.`,
    remedy:
      "Run `account-sync migrate` as the owner of schema account_sync, which sets it; a running daemon does so within a minute.",
  }));
}

async function readLagging(db: CheckContext["db"]): Promise<readonly LaggingSequence[]> {
  try {
    return await db.run<LaggingSequence>("check_sequences");
  } catch (error) {
    // 3F000: no such schema, 42883: no such function, before the first migrate. 42501: the check `rights` reports the owner of the schema.
    if (/^(?:3F000|42883|42501)$/.test(errorCode(error) ?? "")) return [];
    throw error;
  }
}
