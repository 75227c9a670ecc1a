/**
 * The story of one change: what becomes of a claimed account.
 *
 *     load ─▶ finish a deletion ─▶ finish what is unsettled ─▶ connect ─▶ wait for the parent ─▶ transform ─▶ validate
 *          ─▶ skip if unchanged ─▶ look for its customer ─▶ send
 *
 * The first step that finds something to do decides; the others are left out. An earlier send that was not settled comes before anything
 * new: where its answer is journaled its ids are written back, and a create whose answer never came (a timeout, a crash) is in doubt: it is
 * parked, looked up or sent again under its old key, as CUSTOMER_API_UNKNOWN_OUTCOME says (unsettled.ts, in-doubt.ts).
 *
 * The account is loaded with the ids that the mapping knows: a row that has lost its id is updated, and gets it back (account/mapped-ids.ts).
 */
import type { Account } from "../account/account.ts";
import type { ApiConnection } from "../customer-api/customer-api.ts";
import {
  type CustomerCommand,
  hasAllIds,
  type SentRows,
  sizeProblem,
} from "../customer-command/command.ts";
import { fieldFingerprintsOf, serializeCommand } from "../customer-command/fingerprint.ts";
import { toCommand } from "../customer-command/transform.ts";
import {
  describeErrors,
  toValidationContext,
  validateCommand,
} from "../customer-command/validate.ts";
import { settleAccepted, settleEnded } from "./conclude.ts";
import { finishDeletion } from "./deletion.ts";
import { accountGone, parkInvalid } from "./endings.ts";
import { connect, toApiUrl } from "./home.ts";
import { createKeyOf } from "./idempotency-key.ts";
import type { Loaded } from "./load-for-sync.ts";
import { lookForCustomer } from "./look-up-customer.ts";
import type { Outcome } from "./outcome.ts";
import { waitForParent } from "./parent.ts";
import { send } from "./send.ts";
import { type EndStep, end, type SendStep, type Step } from "./step.ts";
import type { SyncContext } from "./sync-context.ts";
import { finishUnsettled } from "./unsettled.ts";

/**
 * Brings one claimed account to the API. Resolves with the outcome, which is settled by then; null when the lease was lost on the way,
 * and with it the right to write anything.
 */
export async function syncAccount(sync: SyncContext): Promise<Outcome | null> {
  const step = await nextStep(sync);
  const last = step.kind === "send" ? await send(sync, step) : step;
  switch (last.kind) {
    case "write back":
      return await settleAccepted(sync, last);
    case "end":
      return await settleEnded(sync, last);
    case "lease lost":
      return null;
    default:
      return last satisfies never;
  }
}

async function nextStep(sync: SyncContext): Promise<Step> {
  const loaded = await load(sync);
  const unfinished =
    (await finishDeletion(sync, loaded)) ?? // where customers of removed accounts are to be deleted
    (await finishUnsettled(sync, loaded)); // write back, repeat, or decide what is in doubt
  if (unfinished !== null) return unfinished;
  if (loaded.account === null) return endWithoutAccount(loaded);

  const connection = await connect(sync, loaded.account, loaded.mapping);
  if ("kind" in connection) return connection;
  const waiting = await waitForParent(sync, loaded.account);
  if (waiting !== null) return waiting;

  const draft = validate(sync, transform(sync, loaded.account, loaded, connection));
  if ("kind" in draft) return draft;
  return (
    skipIfUnchanged(sync, draft) ??
    (await lookForCustomer(sync, connection, draft)) ?? // one that an earlier system has made
    (await toSend(sync, draft, connection))
  );
}

async function load({ wiring, claim, caller }: SyncContext): Promise<Loaded> {
  const loaded = await wiring.load(claim.accountId);
  if (loaded.account === null || caller.toAccount === undefined) return loaded;
  return { ...loaded, account: caller.toAccount(loaded.account) };
}

/** The account was removed, or is too large to be read. */
function endWithoutAccount({ tooLarge, unsettled }: Loaded): EndStep {
  return end(tooLarge === null ? accountGone(unsettled) : parkInvalid(tooLarge, null));
}

/** What would be sent now. */
export interface Draft {
  readonly account: Account;
  readonly command: CustomerCommand;
  readonly sent: SentRows;
  readonly body: string;
  readonly fingerprint: string;
  /** An unsettled attempt that this one replaces: an update that newer data may overtake. */
  readonly supersedes: string | null;
}

function transform(
  { wiring }: SyncContext,
  account: Account,
  { unsettled, mapping }: Loaded,
  connection: ApiConnection,
): Draft {
  const { command, sent } = toCommand(account, wiring.mapping);
  return {
    account,
    command,
    sent: {
      ...sent,
      sentTo: { configId: connection.configId, apiUrl: toApiUrl(connection) },
      ...(mapping.restored.length > 0 && { restored: mapping.restored }),
      ...(mapping.unmapped.length > 0 && { unmapped: mapping.unmapped }),
      ...(mapping.leftOut.length > 0 && { leftOut: mapping.leftOut }),
    },
    ...serializeCommand(command),
    supersedes: unsettled?.attemptId ?? null,
  };
}

/** A draft that may be sent, with the number of its warnings. */
type ValidDraft = Draft & { readonly warnings: number };

function validate({ wiring }: SyncContext, draft: Draft): ValidDraft | EndStep {
  const { account, command, supersedes } = draft;
  const { language } = wiring.policy;
  const validation = validateCommand(command, toValidationContext(account, language));
  wiring.observe.validated({ accountId: account.id, warnings: validation.warnings });

  const warnings = validation.warnings.length;
  if (validation.isValid) return { ...draft, warnings };
  const error = describeErrors(validation, language);
  return end({ ...parkInvalid(error, account), warnings, supersedes });
}

function skipIfUnchanged(
  { claim }: SyncContext,
  { fingerprint, sent, warnings, supersedes }: ValidDraft,
): EndStep | null {
  if (claim.force || fingerprint !== claim.fingerprint || !hasAllIds(sent)) return null;
  // An update puts the ids back that rows have lost.
  if (sent.restored !== undefined) return null;
  return end({ name: "unchanged", warnings, supersedes });
}

async function toSend(
  { wiring, claim, caller }: SyncContext,
  draft: ValidDraft,
  connection: ApiConnection,
): Promise<SendStep | EndStep> {
  const { account, command, sent, body, fingerprint, warnings, supersedes } = draft;
  const problem = sizeProblem(body);
  if (problem !== null) return end({ ...parkInvalid(problem, account), warnings, supersedes });
  const operation = account.externalId === null ? "create" : "update";
  return {
    kind: "send",
    connection,
    isRepeat: false,
    send: {
      claim,
      generation: caller.generationOf?.(fingerprint) ?? claim.generation,
      operation,
      idempotencyKey:
        operation === "create"
          ? createKeyOf(await wiring.installationId(), account.id, claim.createsEnded)
          : crypto.randomUUID(),
      userId: claim.userId ?? wiring.policy.defaultUserId,
      configId: connection.configId,
      body,
      sent,
      fingerprint,
      fieldFingerprints: fieldFingerprintsOf(command, account.id),
      warnings,
      supersedes,
      repeatsUnknown: false,
    },
  };
}
