/**
 * Line by line, what the domain says and the test that executes it: nothing of it rests on being remembered. Each test is named by a piece
 * of its name, and has to be there.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const LINES: readonly (readonly [says: string, file: string, test: string])[] = [
  // What is a change.
  [
    "columns that are sent are changes",
    "test/db/capture-changes.test.ts",
    "exactly the payload columns of %s",
  ],
  [
    "ids and audit columns are none",
    "test/db/capture-changes.test.ts",
    "a save that rewrites everything with the same data is none",
  ],
  [
    "a tier or contact person that goes sends the account again",
    "test/e2e/delete.test.ts",
    "removed, softly or for good",
  ],
  [
    "one that moves sends both accounts",
    "test/e2e/delete.test.ts",
    "moves to another account sends both",
  ],
  [
    "optional tables and columns may be missing",
    "test/db/load.test.ts",
    "optional tables and newer columns may be missing, all at once",
  ],

  // The command.
  [
    "create and update, whole",
    "test/unit/transform.test.ts",
    "becomes a create without any id of its own",
  ],
  [
    "an update carries ids and tier-assignment",
    "test/unit/transform.test.ts",
    "becomes an update with every id that is known",
  ],
  [
    "tiers by min_value, crew by age, active ones only",
    "test/unit/transform.test.ts",
    "tiers go by their lowest amount",
  ],
  [
    "auto deduct decides deduction_active_type",
    "test/unit/transform.test.ts",
    "[string, Partial<Tier>[], string | undefined]",
  ],
  [
    "missing text is empty",
    "test/unit/transform.test.ts",
    "nothing but a name is sent with empty text",
  ],
  ["no invented amount or date", "test/unit/transform.test.ts", "is absent, not invented"],
  ["the oldest active bank account", "test/unit/transform.test.ts", "the oldest active one counts"],
  [
    "customer_status is the account's",
    "test/unit/transform.test.ts",
    "customer's status is the account's",
  ],
  ["phone numbers", "test/unit/phone.test.ts", 'describe("phone numbers"'],
  [
    "the reference field",
    "test/unit/transform.test.ts",
    "under the reference field, and only there",
  ],
  [
    "each field comes from its columns",
    "test/unit/mapping.test.ts",
    "a change of %s shows in the fields of the table, and in no other",
  ],

  // The API.
  ["every form of answer, for create and update", "test/e2e/answers.test.ts", "$name"],
  [
    "token by form or JSON, renewed after 401 and 403",
    "test/e2e/customer-api-token.test.ts",
    "style form is the standard request",
  ],
  [
    "key and body stay the same over every repeat",
    "test/db/sync/lookup.test.ts",
    "goes out again under the same key and body",
  ],

  // Answer to database.
  [
    "ids by evidence, never a wrong one",
    "test/unit/match-ids-properties.test.ts",
    "gives no row an id that was given out for another",
  ],
  ["every write names the user", "test/db/sync/sync-account.test.ts", "says who it was for"],

  // Validation.
  ["the table of rules", "test/unit/validation-table.test.ts", "%s, %s: %s"],
  [
    "a parent without an id is waited for",
    "test/e2e/families.test.ts",
    "a child waits for its parent",
  ],

  // The library.
  ["success", "test/e2e/library.test.ts", "brings the account to the API and its ids to the rows"],
  ["the smallest useful call", "test/e2e/library.test.ts", "of the smallest useful kind works"],
  ["not valid", "test/e2e/library.test.ts", "because it is not valid leaves the account as it was"],
  ["the API refused", "test/e2e/predecessor.test.ts", "the API refuses"],
  ["details hold the API's own error", "test/e2e/predecessor.test.ts", "a code, field errors and"],
  ["the queue tells the same truth", "test/e2e/predecessor.test.ts", "parkedAndNotSentAgain"],
  ["the types narrow", "test/e2e/library-types.test.ts", "without a cast"],
  ["imported as they are", "test/e2e/imported.test.ts", "an application that calls once"],
  ["API fine, database not", "test/faults/library.test.ts", "goes away after the API has answered"],
  [
    "partly written, and retryFailedUpdates",
    "test/e2e/library.test.ts",
    "are in the result, and are written later without a request",
  ],
  ["debug mode", "test/e2e/library.test.ts", "shows what would be sent, masked"],
  [
    "updateAccount, updatePackageTier, updateAccountPIC",
    "test/e2e/library.test.ts",
    "kept when another one stands",
  ],
  [
    "processExternalApiResponse",
    "test/e2e/library.test.ts",
    "from an answer that came some other way",
  ],
  ["transformCustomerData, validateCustomerData", "test/e2e/library.test.ts", "by the input alone"],
  ["getAvailableBackendConfigs", "test/e2e/library.test.ts", "what there is can be listed"],
  [
    "references are taken from the input, or looked up",
    "test/e2e/library.test.ts",
    "finds names that no relation was loaded for",
  ],
];

test.each(LINES)("%s", (_, file, name) => {
  const text = readFileSync(fileURLToPath(new URL(`../../${file}`, import.meta.url)), "utf8");

  expect(text).toContain(name);
});
