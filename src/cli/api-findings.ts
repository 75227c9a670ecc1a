/** The findings of `doctor` about the API, from one try of the credentials. Pure. */
import type { ApiConnection } from "../customer-api/customer-api.ts";
import { CHECK_TOKEN_SETTINGS } from "../customer-api/failure.ts";
import type { Trial } from "../customer-api/trial.ts";
import type { Diagnosis } from "../operator-error.ts";
import { capitalized } from "./wording.ts";

const WAIT_FOR_THE_API =
  "Check that the API is up and can be reached; a daemon may start meanwhile, and sends when the API answers.";

export function toApiFindings(
  trial: Trial,
  { auth, baseUrl }: Pick<ApiConnection, "auth" | "baseUrl">,
): Diagnosis[] {
  switch (trial.kind) {
    case "taken":
      return [];

    case "refused":
      return [
        {
          problem: `The API refuses ${WHAT_IS_REFUSED[auth.kind]}: it answered ${trial.status} to GET ${trial.target}, a request that changes nothing.`,
          remedy: toRemedy(trial.status, auth.kind),
        },
      ];

    case "failing":
      return [
        {
          problem: `The API answered ${trial.status} to GET ${trial.target}, so it is not known whether it accepts our credentials.`,
          remedy:
            "Check the API's log, and run this again when the API works; a daemon may start meanwhile, and sends when the API answers.",
        },
      ];

    case "unreachable":
      return [
        {
          problem: `The API at ${new URL(baseUrl).origin} cannot be reached: ${trial.reason}.`,
          remedy: WAIT_FOR_THE_API,
        },
      ];

    case "no_token": {
      const { errorClass, message } = trial.failure;
      const isRefused = errorClass === "unauthorized" || errorClass === "rejected";
      return [
        {
          // The message ends with the text of the remedy.
          problem: `${capitalized(message.replace(`; ${CHECK_TOKEN_SETTINGS}`, ""))}.`,
          remedy: isRefused ? `${capitalized(CHECK_TOKEN_SETTINGS)}.` : WAIT_FOR_THE_API,
        },
      ];
    }

    default:
      return trial satisfies never;
  }
}

const WHAT_IS_REFUSED: Readonly<Record<ApiConnection["auth"]["kind"], string>> = {
  none: "requests without credentials",
  static: "CUSTOMER_API_TOKEN",
  client_credentials: "the token that its token endpoint gave",
};

const PROXY_STATUS = 407;

function toRemedy(status: number, kind: ApiConnection["auth"]["kind"]): string {
  if (status === PROXY_STATUS) {
    return "A proxy asks for credentials: configure it to let the requests pass, or connect without it.";
  }
  switch (kind) {
    case "none":
      return "Set CUSTOMER_API_TOKEN, or CUSTOMER_API_CLIENT_ID and CUSTOMER_API_CLIENT_SECRET, or the header that the API expects in CUSTOMER_API_HEADERS.";
    case "static":
      return "Correct CUSTOMER_API_TOKEN, CUSTOMER_API_HEADERS or additional_headers; ask the API's operator whether this client may send customers.";
    case "client_credentials":
      return "Check CUSTOMER_API_SCOPE and that CUSTOMER_API_TOKEN_URL belongs to this API; ask its operator whether this client may send customers.";
    default:
      return kind satisfies never;
  }
}
