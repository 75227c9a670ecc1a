/**
 * What a fault leaves behind, as a test declares it to the judge (verdict.ts): accounts that wait although all faults have ended, ids that
 * a person has changed, customers whose account was removed. Whatever is left and not declared is an error that the judge finds.
 */
import type { SourceAccount } from "./source-accounts.ts";

export interface Explanation {
  /** Account numbers, each of which has to be left like this; or a condition, where the test cannot know how many there are. */
  readonly accounts: readonly string[] | ((code: string, account?: SourceAccount) => boolean);
  /**
   * A state of account_sync.status; `other ids`: external ids that the API did not give out for these rows stand there; `cleared ids`:
   * those that it did are not there; `removed`: the customer has no account any more.
   */
  readonly are: Left;
  /** Of a state: the error class that goes with it. */
  readonly errorClass?: string;
  /** Why the fault leaves them like this. */
  readonly because: string;
}

type Left =
  | "parked"
  | "blocked"
  | "retrying"
  | "waiting"
  | "due"
  | "other ids"
  | "cleared ids"
  | "removed";

export interface Explanations {
  /** Whether one of the explanations names this account as left like this. */
  explain(left: string, code: string, account?: SourceAccount): boolean;
  /** Account numbers that are not left as their explanation says. To be asked when all accounts have been judged. */
  unfounded(): string[];
  /** The accounts left as explained, by explanation. To be asked when all accounts have been judged. */
  counts(): Record<string, number>;
}

export function openExplanations(explanations: readonly Explanation[]): Explanations {
  const all = explanations.map((explanation) => {
    const { accounts } = explanation;
    return {
      ...explanation,
      names: typeof accounts === "function" ? accounts : namesIn(new Set(accounts)),
      found: new Set<string>(),
    };
  });

  return {
    explain(left, code, account) {
      const explanation = all.find(
        ({ are, errorClass, names }) =>
          are === left &&
          (errorClass === undefined || errorClass === account?.errorClass) &&
          names(code, account),
      );
      explanation?.found.add(code);
      return explanation !== undefined;
    },

    unfounded: () =>
      all.flatMap(({ accounts, are, because, found }) =>
        typeof accounts === "function"
          ? []
          : accounts
              .filter((code) => !found.has(code))
              .map((code) => `account ${code} is not left as explained: ${are}, ${because}`),
      ),

    counts: () =>
      Object.fromEntries(
        all
          .filter(({ found }) => found.size > 0)
          .map(({ are, because, found }) => [`${are}: ${because}`, found.size]),
      ),
  };
}

function namesIn(codes: ReadonlySet<string>): (code: string) => boolean {
  return (code) => codes.has(code);
}
