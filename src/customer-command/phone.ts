/**
 * Phone numbers: converted to the form that the API takes, and checked.
 *
 * A number is digits, a plus in front, and what people put between digits. libphonenumber also reads what is more than one number: it
 * takes the second line of 021-5551234/35 for further digits, and drops an extension. Either is another number than the one that is
 * meant, so a text with any other character is not read at all.
 */
import {
  type CountryCode,
  getCountryCallingCode,
  isSupportedCountry,
  type PhoneNumber,
  parsePhoneNumberFromString,
} from "libphonenumber-js/max";

/**
 * A phone number in E.164; `""` for a blank one; the text without separators where it cannot be read or is
 * not one number, which validation then refuses.
 *
 * Read with the `max` metadata, because only they distinguish mobile numbers. Digits that begin with the calling code may be an
 * international number without its plus (Indonesia's 62 812…) or a national one (Italy's mobile numbers in 39…, written without a
 * leading zero). They are read as international, unless no valid number begins so and the national reading is a mobile number.
 */
export function toMsisdn(phoneNo: string | null, defaultCountry: string): string {
  const bare = toBare(phoneNo ?? "");
  const country = defaultCountry.toUpperCase();

  const indonesian = readIndonesian(bare, country);
  if (indonesian !== null) return indonesian;
  if (!ONE_NUMBER.test(bare)) return bare;
  const [first, second] = possibleReadings(bare, isSupportedCountry(country) ? country : undefined);
  if (first === undefined) return bare;
  if (first.isValid()) return first.number;
  if (second !== undefined && isMobile(second)) return second.number;
  // Each reading of an unassigned number may remove a leading 0, so it is repeated until the number no longer changes: a number that was
  // sent is then read back as it was sent. Each repetition shortens it.
  return first.number === bare ? bare : toMsisdn(first.number, defaultCountry);
}

/**
 * The numbers that nearly every account has: Indonesian mobile ones, and those of Jakarta, Bandung and Semarang, whose area codes have
 * two digits. libphonenumber reads them in the same way (test/unit/phone.test.ts), but needs 6 to 20 µs for each; null for any other number.
 */
function readIndonesian(bare: string, country: string): string | null {
  const [, prefix, national] = INDONESIAN.exec(bare) ?? [];
  if (national === undefined) return null;
  return prefix === "+62" || country === "ID" ? `+62${national}` : null;
}

const INDONESIAN = /^(\+62|62|0|)(8[1-35-9][0-9]{7,10}|2[124][0-9]{7,8})$/;

/** Without what stands between digits; digits and the plus as ASCII. */
function toBare(text: string): string {
  if (PLAIN.test(text)) return text.replace(/[-. ()]/g, "");
  return text
    .replace(/[\p{Nd}\p{Ps}\p{Pe}\p{Pd}＋．]/gu, (character) => character.normalize("NFKC"))
    .replace(ARABIC_DIGITS, (digit) => String(digit.charCodeAt(0) & 0xf))
    .replace(SEPARATORS, "")
    .trim();
}

/** As nearly all numbers are written; what follows for the others says nothing else of these. */
const PLAIN = /^[-+0-9 .()]*$/;

/** Both Arabic series begin at a multiple of 16. */
const ARABIC_DIGITS = /[\u0660-\u0669]|[\u06f0-\u06f9]/g;

/**
 * Spaces, dashes (the minus sign among them), dots, brackets, and the invisible direction marks that address books put around copied
 * numbers. Not the end of a line within the text: what follows is the next number. Nor the wave dashes, which are written for "to".
 */
const SEPARATORS = /[\p{Zs}\t\u2212\p{Cf}.()[\]{}]|(?![\u301c\u3030])\p{Pd}/gu;

const ONE_NUMBER = /^\+?[0-9]*$/;

function possibleReadings(bare: string, country: CountryCode | undefined): PhoneNumber[] {
  const readings = [bare];
  if (bare.startsWith("00")) readings.unshift(`+${bare.slice(2)}`);
  if (country !== undefined && bare.startsWith(getCountryCallingCode(country))) {
    readings.unshift(`+${bare}`);
  }

  return readings
    .map((reading) =>
      parsePhoneNumberFromString(reading, {
        extract: false,
        ...(country === undefined ? {} : { defaultCountry: country }),
      }),
    )
    .filter((number) => number?.isPossible() === true)
    .filter((number) => number !== undefined);
}

function isMobile(number: PhoneNumber): boolean {
  const type = number.getType();
  return type === "MOBILE" || type === "FIXED_LINE_OR_MOBILE";
}

/** Whether this text can be a phone number; `country` (ISO 3166) is that of numbers without a country code. */
export function isPossiblePhone(text: string, country: string | undefined): boolean {
  const bare = toBare(text);
  if (INDONESIAN.test(bare) && bare.startsWith("+")) return true;
  if (!ONE_NUMBER.test(bare)) return false;
  const number = parsePhoneNumberFromString(bare, {
    extract: false,
    ...countryOption(country?.toUpperCase()),
  });
  return number?.isPossible() === true;
}

function countryOption(country: string | undefined): { readonly defaultCountry?: CountryCode } {
  return country !== undefined && isSupportedCountry(country) ? { defaultCountry: country } : {};
}
