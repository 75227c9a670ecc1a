/** `preview`: the command that would be sent for an account, and what keeps it from being sent. Sends and writes nothing. */
import { canonicalId } from "../account/canonical-ids.ts";
import type { MappedId } from "../account/mapped-ids.ts";
import type { Config } from "../config.ts";
import type { Difference, LastAccepted } from "../customer-command/difference.ts";
import { fieldsOf } from "../customer-command/field-paths.ts";
import type { Language } from "../customer-command/messages.ts";
import { type Preview, previewCommand } from "../customer-command/preview.ts";
import type { Recommendation } from "../customer-command/recommendations.ts";
import type { ValidationFinding } from "../customer-command/validate.ts";
import { forPerson } from "../invocation.ts";
import { OperatorError } from "../operator-error.ts";
import { describeChoice, isUndecided } from "../sync/choice.ts";
import { type Loaded, loadForSync } from "../sync/load-for-sync.ts";
import type { Wiring } from "../wiring.ts";
import { withWiring } from "./connect.ts";
import { printJson, printLine, toTable } from "./output.ts";
import type { FollowedAccount } from "./sync-report.ts";

interface AccountPreview extends Preview {
  readonly accountId: string;
  /** An earlier send that is finished first, unchanged, or that this one replaces; null when there is none. */
  readonly unfinished: string | null;
  /** Ids that their rows have lost: they are sent, and put back. */
  readonly restored: readonly MappedId[];
}

export async function preview(
  config: Config,
  id: string,
  { json }: { readonly json: boolean },
): Promise<number> {
  const previewed = await withWiring(config, { json }, ({ wiring }) =>
    previewAccount(wiring, id, config.language),
  );
  if (json) printJson(previewed);
  else for (const line of describe(previewed)) printLine(line);
  return previewed.summary.canSend ? 0 : 1;
}

async function previewAccount(
  { db, mapping }: Wiring,
  id: string,
  language: Language,
): Promise<AccountPreview> {
  const accountId = await canonicalId(db, id);
  const [loaded] = await loadForSync(db, [accountId]);
  const account = loaded?.account ?? null;
  if (loaded !== undefined && loaded.tooLarge !== null) {
    throw new OperatorError(`${loaded.tooLarge}.`, {
      hint: "Remove rows of the account that are no longer needed, inactive ones included.",
    });
  }
  if (account === null) {
    throw new OperatorError(`There is no account ${id}.`, {
      hint: "Ids are those of m_account.id; account-sync knows nothing of account numbers or names.",
    });
  }

  const [followed] = await db.run<FollowedAccount>("follow_accounts", [[accountId]]);
  const [lastAccepted = null] = await db.run<LastAccepted>("last_accepted", [id]);
  return {
    accountId,
    unfinished: describeUnfinished(loaded?.unsettled ?? null, followed),
    restored: loaded?.mapping.restored ?? [],
    ...previewCommand({ originalData: account, account, mapping, language, lastAccepted }),
  };
}

function describeUnfinished(
  unsettled: Loaded["unsettled"],
  followed: FollowedAccount | undefined,
): string | null {
  if (unsettled === null) return null;
  const { operation, delivery } = unsettled;
  if (delivery === "answered")
    return `The ids of a ${operation} that the API has answered are written first.`;
  if (isUndecided(unsettled)) {
    const state = followed?.state === "parked" ? "parked" : "retrying";
    return describeChoice(unsettled.sent.accountId, operation, state);
  }
  return operation === "create"
    ? "An earlier create was not applied: it is sent again first, under the same key."
    : `An earlier ${operation} is not finished: this one replaces it.`;
}

function describe(previewed: AccountPreview): string[] {
  const { accountId, debugReport, summary, unfinished, restored, validationResult } = previewed;
  const { operation, obstacle, difference, recommendations, integrityFindings } = debugReport;
  const { errors, warnings } = validationResult;

  return [
    summary.canSend
      ? unfinished === null
        ? `Account ${accountId}: this would be sent, to ${operation} the customer.`
        : `Account ${accountId}: this would be sent when its unfinished send has come to its end.`
      : `Account ${accountId}: nothing would be sent. With the problems below corrected, this would ${operation} the customer:`,
    ...(obstacle === null ? [] : [obstacle]),
    ...describeDifference(difference, restored),
    ...(unfinished === null ? [] : [forPerson(unfinished)]),
    `Data integrity: ${summary.dataIntegrity}`,
    "",
    ...section([
      ...toLines("error", errors),
      ...toLines("warning", warnings),
      ...toLines("integrity", integrityFindings),
    ]),
    ...section(recommendations.map(toAdvice)),
    ...toTable([["field", "value", "from"], ...toRows(previewed)]),
  ];
}

function describeDifference(
  { status, isCurrent, paths }: Difference,
  restored: readonly MappedId[],
): string[] {
  if (restored.length > 0) {
    const lost = restored.map(({ entity, id }) =>
      entity === "tier" || entity === "pic" ? `${entity} ${id}` : entity,
    );
    const rest = status === "same" ? [] : describeDifference({ status, isCurrent, paths }, []);
    return [
      `It is sent, as rows have lost their external ids, which are put back from the id mapping: ${lost.join(", ")}. To have the customer made anew instead: forget its ids.`,
      ...rest,
    ];
  }
  const sentence = {
    none_accepted: "No command of this account was accepted yet.",
    unknown:
      "The command last accepted is not known: its history was removed, or account-sync did not send it.",
    same: isCurrent
      ? "It equals the command last accepted: only a forced sync sends it again."
      : "It equals the command last accepted, and is sent again: a later send may have been applied, or ids are missing.",
    different: "It differs from the command last accepted",
  }[status];
  if (status !== "different") return [sentence];
  if (paths === null)
    return [`${sentence}; in which fields is not known, as nothing is kept of them (any more).`];

  const kinds = Object.entries(paths).filter(([, fields]) => fields.length > 0);
  if (kinds.length === 0)
    return [`${sentence}, though no field does: the mapping was changed since.`];
  return [`${sentence}:`, ...kinds.map(([kind, fields]) => `  ${kind}: ${fields.join(", ")}`)];
}

function toLines(kind: string, found: readonly Pick<ValidationFinding, "message">[]): string[] {
  return found.map(({ message }) => `${kind}: ${message}`);
}

function toAdvice({ field, message }: Recommendation): string {
  return field === null ? message : `${field}: ${message}`;
}

function section(lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [...lines, ""];
}

/** A longer value would widen the column of all of them. */
const VALUE_SHOWN_MAX = 60;

/** With masked personal numbers; `--json` has them whole as well. */
function toRows({ previewData, debugReport }: Preview): string[][] {
  const sources = new Map(debugReport.mapping.map((source) => [source.field, source]));
  return fieldsOf(previewData).map(({ path, value }) => {
    const { columns = [], conversion = "copied" } = sources.get(path) ?? {};
    const from = [columns.join(", "), conversion === "copied" ? "" : `(${conversion})`];
    return [path, toShown(JSON.stringify(value)), from.join(" ").trim()];
  });
}

function toShown(text: string): string {
  return text.length <= VALUE_SHOWN_MAX
    ? text
    : `${text.slice(0, VALUE_SHOWN_MAX - 1)}…`.toWellFormed();
}
