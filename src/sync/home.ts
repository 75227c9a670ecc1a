/**
 * The configuration that an account belongs to: the one that gave it its id. Two APIs may have given out the same id, so an update that
 * goes to another one overwrites another customer. A request that names another configuration is refused; what is pending goes home.
 */
import type { Account } from "../account/account.ts";
import type { Home, IdMapping } from "../account/mapped-ids.ts";
import { callOn, toShellWord } from "../call-on.ts";
import type { ApiConnection, UnusableConnection } from "../customer-api/customer-api.ts";
import { parkInvalid, refuseRequest, withoutConnection } from "./endings.ts";
import type { MappedElsewhere } from "./mapped-elsewhere.ts";
import { type EndStep, end } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";

/** Where to send the account; an end where that configuration cannot be used, or another one was asked for. */
export async function connect(
  sync: Pick<SyncContext, "wiring" | "claim">,
  account: Account,
  mapping: IdMapping,
): Promise<ApiConnection | EndStep> {
  const { wiring, claim } = sync;
  const { home } = mapping;
  const connection =
    account.externalId === null
      ? await wiring.connection(claim.configId)
      : await connectHome(sync, home ?? (await wiring.lastHome(account.id)) ?? DEFAULT_HOME);
  if ("error" in connection) {
    // A requested configuration that does not exist is the request's fault; a missing default one is no account's fault.
    return account.externalId === null && claim.configId !== null
      ? end({ ...parkInvalid(connection.error, account), request: "dropped" })
      : end(withoutConnection(wiring.policy, claim, account, connection.error));
  }

  if (account.externalId !== null && claim.configId !== null) {
    const asked = await wiring.connection(claim.configId);
    if ("error" in asked) return end(refuseRequest(asked.error));
    if (asked.configId !== connection.configId)
      return end(refuseRequest(describeOtherHome(account.id, connection, asked)));
  }
  const problem = await findForeignId(sync, account, mapping, connection);
  return problem === null
    ? connection
    : end({ ...parkInvalid(problem, account), request: "dropped" });
}

/** An id that the command would name and that is another customer's, or another row's, at this API. As a sentence without its full stop. */
async function findForeignId(
  sync: Pick<SyncContext, "wiring" | "claim">,
  { id, parent }: Account,
  { parentHome, unmapped }: IdMapping,
  connection: ApiConnection,
): Promise<string | null> {
  if (parent !== null && parent.externalId !== null && parentHome !== null) {
    const parents = await connectHome(sync, parentHome);
    if (!("error" in parents) && parents.configId !== connection.configId)
      return `Its parent ${parent.id} has its id from ${nameOf(parents)}, and this account is sent to ${nameOf(connection)}, which does not know that id. Sync the parent and this account with one configuration`;
  }
  if (unmapped.length === 0) return null;

  const elsewhere = await sync.wiring.findMappedElsewhere(id, unmapped);
  const isHere = (row: MappedElsewhere) => row.configId === connection.configId;
  const moved = elsewhere.find((row) => row.id === row.otherId && !isHere(row));
  if (moved !== undefined)
    return `Its ${moved.entity} ${moved.id} was moved here with an id from ${nameOf(moved)}, and this account is sent to ${nameOf(connection)}, which does not know that id. \`${callOn("forget", id)} --${moved.entity} ${toShellWord(moved.id)}\` lets it be added anew`;

  const taken = elsewhere.find((row) => row.id !== row.otherId && isHere(row));
  return taken === undefined ? null : describeTaken(id, taken);
}

/** A copied row, mostly: sent, it would overwrite what the API has of the other one. */
function describeTaken(
  id: string,
  { entity, id: rowId, otherId, otherAccountId, externalId }: MappedElsewhere,
): string {
  const isAccount = entity === "account";
  const row = isAccount ? "Its uuid_be" : `uuid_be of its ${entity} ${rowId}`;
  const owner = isAccount
    ? `account ${otherAccountId}`
    : `${entity} ${otherId} of account ${otherAccountId}`;
  return `${row} is ${externalId}, which is the id of ${owner}: sent, it would overwrite that one. Clear it, then \`${callOn("retry", id)}\`; or, if it belongs here: \`${callOn("forget", otherAccountId)}\``;
}

/** Of an id that another system has written. */
const DEFAULT_HOME: Home = { configId: null, apiUrl: null };

/**
 * The home configuration. One that cannot be used any more is replaced by the default one where that is the same API: an operator may
 * have put a new row in place of an old one.
 */
export async function connectHome(
  { wiring, claim }: Pick<SyncContext, "wiring" | "claim">,
  home: Home,
): Promise<ApiConnection | UnusableConnection> {
  const connection = await wiring.connection(home.configId);
  if (home.configId === null)
    return "error" in connection ? connection : asEnvironment(connection, home);
  if (!("error" in connection)) return connection;

  const byDefault = await wiring.connection(null);
  if (!("error" in byDefault) && toApiUrl(byDefault) === home.apiUrl) return byDefault;
  return {
    error: `The account has its id from configuration ${home.configId}, which cannot be used (${connection.error}). Bring that row back; or, to make the customer anew elsewhere: \`${callOn("forget", claim.accountId)}\``,
  };
}

/** The environment named the API; where it names none any more, the default is a row, which may point to another one. */
function asEnvironment(
  byDefault: ApiConnection,
  { apiUrl }: Home,
): ApiConnection | UnusableConnection {
  if (byDefault.configId === null || apiUrl === null || toApiUrl(byDefault) === apiUrl)
    return byDefault;
  return {
    error: `The account has its id from CUSTOMER_API_URL as it was (${apiUrl}), and what is used now is configuration ${byDefault.configId}, which points elsewhere. Set CUSTOMER_API_URL again; or, to make the customer anew elsewhere, forget the account's ids`,
  };
}

/** What a configuration is told by after it has been replaced: where customers are created, without query, which may hold a key. */
export function toApiUrl({
  baseUrl,
  createPath,
}: Pick<ApiConnection, "baseUrl" | "createPath">): string {
  const url = new URL(baseUrl);
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}${createPath.replace(/\?.*/, "")}`;
}

function describeOtherHome(id: string, home: ApiConnection, asked: ApiConnection): string {
  return `Account ${id} belongs to ${nameOf(home)}, which gave it its id, so the request for ${nameOf(asked)} was refused and nothing was sent there. To move the account, forget its ids first: \`${callOn("forget", id)}\``;
}

function nameOf({ configId }: Pick<ApiConnection, "configId">): string {
  return configId === null ? "the default configuration" : `configuration ${configId}`;
}
