/** What values an argument or an option takes; anything else is refused before a command runs. */
import { InvalidArgumentError } from "commander";

/** Any text may be a key in some installation; a text that the key's type cannot hold is an account that does not exist. */
export function accountId(text: string): string {
  if (text.trim() === "" || text.length > 255) {
    throw new InvalidArgumentError("an account id has 1 to 255 characters");
  }
  return text.trim();
}

/** Of a tier or a contact person. */
export function rowId(text: string): string {
  return withinCharacters(255)(text).trim();
}

export function externalId(text: string): string {
  return withinCharacters(255)(text).trim();
}

export function wholeNumber(minimum: number, maximum: number): (text: string) => number {
  return (text) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (value >= minimum && value <= maximum) return value;
    throw new InvalidArgumentError(`It must be a whole number from ${minimum} to ${maximum}.`);
  };
}

export function withinCharacters(maximum: number): (text: string) => string {
  return (text) => {
    if (text.trim() !== "" && text.length <= maximum) return text;
    throw new InvalidArgumentError(`It must have 1 to ${maximum} characters.`);
  };
}
