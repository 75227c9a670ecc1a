/** Whether requests for many accounts are worked off: those that cannot be expanded are set aside and tried again. */
import { errorCode } from "../db/error-code.ts";
import type { Diagnosis } from "../operator-error.ts";
import type { CheckContext } from "./check.ts";

interface SetAside {
  readonly marker: string;
  readonly error: string | null;
  readonly count: number;
}

export async function lookAtMarkers({ db }: CheckContext): Promise<Diagnosis[]> {
  return (await readSetAside(db)).map(describeSetAside);
}

function describeSetAside({ marker, error, count }: SetAside): Diagnosis {
  const requests = `${count} ${count === 1 ? "request" : "requests"} for many accounts (marker ${marker}) ${count === 1 ? "waits" : "wait"}`;
  if (error === "42P01" || error === "42703") {
    return {
      problem: `${requests}: a table or column that it takes to find the accounts is missing (${error}).`,
      remedy:
        "Bring it back; this is tried again every few seconds, and no request is lost. For an optional table that was removed for good: select account_sync.remove_capture('<table>'); then `account-sync migrate`.",
    };
  }
  return {
    problem: `${requests}: finding the accounts failed (${error ?? "no code"}).`,
    remedy:
      'The log says what failed, beside "expanding a marker". This is tried again, at least every 43 minutes, and no request is lost.',
  };
}

async function readSetAside(db: CheckContext["db"]): Promise<readonly SetAside[]> {
  try {
    return await db.run<SetAside>("check_markers");
  } catch (error) {
    // 3F000: no such schema, 42P01: no such table, before the first migrate. 42501: the check `rights` reports the owner of the schema.
    if (/^(?:3F000|42P01|42501)$/.test(errorCode(error) ?? "")) return [];
    throw error;
  }
}
