/**
 * Two customer APIs that give out the same ids, seen as one by the storm and by the judge: an update that is sent to the wrong one finds a
 * customer there, and changes it.
 */
import { type Sandbox, type SandboxOptions, startSandbox } from "../../src/local/sandbox.ts";
import type { TestDatabase } from "./postgres.ts";
import type { StormedApi } from "./storm-run.ts";

export interface ApiPair extends StormedApi {
  /** The environment's. */
  readonly default: Sandbox;
  /** The one that a request has to name. */
  readonly other: Sandbox;
  close(): Promise<void>;
}

/** The configuration of `other`. */
export const OTHER_CONFIG = "00000000-0000-4000-8000-0000000000b0";

export async function startApiPair(options: SandboxOptions): Promise<ApiPair> {
  const apis = [
    await startSandbox({ ...options, numbersIds: true }),
    await startSandbox({ ...options, numbersIds: true }),
  ] as const;
  return {
    default: apis[0],
    other: apis[1],
    customers: () => apis.flatMap((api) => api.customers()),
    history: () => apis.flatMap((api) => api.history()).sort((a, b) => a.receivedAt - b.receivedAt),
    counts() {
      const [one, other] = [apis[0].counts(), apis[1].counts()];
      return {
        total: one.total + other.total,
        byOperation: addUp(one.byOperation, other.byOperation),
        byStatus: addUp(one.byStatus, other.byStatus),
        overlapping: one.overlapping + other.overlapping,
        inWork: one.inWork + other.inWork,
      };
    },
    setFaults({ next = [], always }) {
      for (const [index, api] of apis.entries())
        api.setFaults({
          next: next.filter((_, position) => position % 2 === index),
          ...(always === undefined ? {} : { always }),
        });
    },
    faults: () => ({ next: apis.flatMap((api) => api.faults().next ?? []) }),
    clearFaults() {
      for (const api of apis) api.clearFaults();
    },
    revokeTokens() {
      for (const api of apis) api.revokeTokens();
    },
    async close() {
      for (const api of apis) await api.close();
    },
  };
}

/** Not for customers by its name, so that none is sent there that does not ask for it. */
export async function configureOther(database: TestDatabase, { other }: ApiPair): Promise<void> {
  await database.query(
    `insert into m_backend_ext_config (id, name, base_url, token_url, client_id, client_secret, method, url)
     values ($1, 'elsewhere', $2::text, $2::text || '/oauth/token', $3, $4, 'POST', '/api/customer/command')`,
    [OTHER_CONFIG, other.url, other.clientId, other.clientSecret],
  );
}

function addUp<Name extends string>(
  one: Readonly<Record<Name, number>>,
  other: Readonly<Record<Name, number>>,
): Record<Name, number> {
  const sum: Partial<Record<Name, number>> = { ...one };
  for (const [name, count] of Object.entries(other) as [Name, number][])
    sum[name] = (sum[name] ?? 0) + count;
  return sum as Record<Name, number>;
}
