/** Phone numbers: converted to the form that the API takes, and checked. */
import {
  type CountryCode,
  getCountryCallingCode,
  isSupportedCountry,
  type PhoneNumber,
  parsePhoneNumberFromString,
} from "libphonenumber-js/max";

/**
 * A phone number in E.164; `""` for a blank one; the text without separators where it cannot be read, which validation then refuses.
 *
 * Read with the `max` metadata, because only they distinguish mobile numbers. Digits that begin with the calling code may be an
 * international number without its plus (Indonesia's 62 812…) or a national one (Italy's mobile numbers in 39…, written without a
 * leading zero). They are read as international, unless no valid number begins so and the national reading is a mobile number.
 */
export function toMsisdn(phoneNo: string | null, defaultCountry: string): string {
  const bare = (phoneNo ?? "").normalize("NFKC").replace(SEPARATORS, "");
  const country = defaultCountry.toUpperCase();

  const [first, second] = possibleReadings(bare, isSupportedCountry(country) ? country : undefined);
  if (first === undefined) return bare;
  if (first.isValid()) return first.number;
  if (second !== undefined && isMobile(second)) return second.number;
  // Each reading of an unassigned number may remove a leading 0, so it is repeated until the number no longer changes: a number that was
  // sent is then read back as it was sent. Each repetition shortens it.
  return first.number === bare ? bare : toMsisdn(first.number, defaultCountry);
}

/** Spaces, dashes, brackets, and the invisible direction marks that address books put around copied numbers. */
const SEPARATORS = /[\s\p{Pd}\p{Cf}()[\]{}]/gu;

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
  const number = parsePhoneNumberFromString(text, {
    extract: false,
    ...countryOption(country?.toUpperCase()),
  });
  return number?.isPossible() === true;
}

function countryOption(country: string | undefined): { readonly defaultCountry?: CountryCode } {
  return country !== undefined && isSupportedCountry(country) ? { defaultCountry: country } : {};
}
