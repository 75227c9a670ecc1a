/**
 * Messages about a customer's data, in both languages side by side. Data only.
 *
 * They are for the people who maintain the data, so the language can be set (`MESSAGES`). Logs and errors of operation are for those
 * who run the daemon, and are always English.
 */
export const LANGUAGES = ["en", "id"] as const;

export type Language = (typeof LANGUAGES)[number];

type Text = Readonly<Record<Language, string>>;

export type RuleName = keyof typeof MESSAGES;

/**
 * Per validation rule. `{field}` is the path of the finding, `{other}` the path it conflicts with. Never a value: messages are logged
 * and kept.
 */
export const MESSAGES = {
  required: {
    en: "{field} is missing",
    id: "{field} wajib diisi",
  },
  recommended: {
    en: "{field} is empty",
    id: "{field} kosong",
  },
  email_malformed: {
    en: "{field} is not an e-mail address",
    id: "{field} bukan alamat email",
  },
  phone_impossible: {
    en: "{field} is not a possible phone number",
    id: "{field} bukan nomor telepon yang mungkin ada",
  },
  ktp_length: {
    en: "{field} does not have 16 digits",
    id: "{field} tidak terdiri dari 16 digit",
  },
  npwp_length: {
    en: "{field} does not have 15 or 16 digits",
    id: "{field} tidak terdiri dari 15 atau 16 digit",
  },
  amount_invalid: {
    en: "{field} is not a number of zero or more",
    id: "{field} bukan angka nol atau lebih",
  },
  amount_absent: {
    en: "{field} is not given",
    id: "{field} tidak diberikan",
  },
  amount_order: {
    en: "{field} is not greater than min_amount",
    id: "{field} tidak lebih besar dari min_amount",
  },
  fee_above_100: {
    en: "{field} is above 100 in a percentage tier",
    id: "{field} melebihi 100 pada tier persentase",
  },
  date_malformed: {
    en: "{field} is not a date",
    id: "{field} bukan tanggal",
  },
  date_absent: {
    en: "{field} is not given",
    id: "{field} tidak diberikan",
  },
  date_order: {
    en: "{field} is not after valid_from",
    id: "{field} tidak sesudah valid_from",
  },
  tier_overlap: {
    en: "{field} overlaps {other} in amounts and dates",
    id: "{field} tumpang tindih dengan {other} dalam nilai dan tanggal",
  },
  username_twice: {
    en: "{field} is the same as {other}",
    id: "{field} sama dengan {other}",
  },
  account_type_missing: {
    en: "{field} is the default role, the account has no type",
    id: "{field} memakai peran bawaan karena akun tidak punya tipe",
  },
} as const satisfies Readonly<Record<string, Text>>;

/** Per validation rule, what to do. `{columns}` are the columns that the field comes from. */
export const ADVICE: Readonly<Record<RuleName, Text>> = {
  required: {
    en: "Fill in {columns}: nothing is sent without it.",
    id: "Isi {columns}: tanpa itu tidak ada yang dikirim.",
  },
  recommended: {
    en: "Fill in {columns} if it is known; the command goes out without it.",
    id: "Isi {columns} bila diketahui; perintah tetap dikirim tanpanya.",
  },
  email_malformed: {
    en: "Correct {columns} to one address like name@example.com, or empty it.",
    id: "Perbaiki {columns} menjadi satu alamat seperti nama@example.com, atau kosongkan.",
  },
  phone_impossible: {
    en: "Correct {columns}: one number and nothing else (no second number, extension or letters), neither too short nor too long, with a country code that is known.",
    id: "Perbaiki {columns}: satu nomor saja (tanpa nomor kedua, ekstensi, atau huruf), tidak terlalu pendek atau terlalu panjang, dengan kode negara yang dikenal.",
  },
  ktp_length: {
    en: "Compare {columns} with the identity card: it has 16 digits.",
    id: "Cocokkan {columns} dengan KTP: nomornya 16 digit.",
  },
  npwp_length: {
    en: "Compare {columns} with the tax card: it has 15 or 16 digits.",
    id: "Cocokkan {columns} dengan kartu NPWP: nomornya 15 atau 16 digit.",
  },
  amount_invalid: {
    en: "Correct {columns} to a number of zero or more.",
    id: "Perbaiki {columns} menjadi angka nol atau lebih.",
  },
  amount_absent: {
    en: "Give {columns}; the tier goes out without it.",
    id: "Berikan {columns}; tier tetap dikirim tanpanya.",
  },
  amount_order: {
    en: "Make {columns} greater than the tier's lower limit.",
    id: "Jadikan {columns} lebih besar dari batas bawah tier.",
  },
  fee_above_100: {
    en: "Correct {columns} to 100 or less, or make the tier a nominal one.",
    id: "Perbaiki {columns} menjadi 100 atau kurang, atau jadikan tier itu nominal.",
  },
  date_malformed: {
    en: "Correct {columns} to a day that exists.",
    id: "Perbaiki {columns} menjadi tanggal yang ada.",
  },
  date_absent: {
    en: "Give {columns}; the tier goes out without it.",
    id: "Berikan {columns}; tier tetap dikirim tanpanya.",
  },
  date_order: {
    en: "Make {columns} later than the tier's first day.",
    id: "Jadikan {columns} sesudah hari pertama tier.",
  },
  tier_overlap: {
    en: "Move the limits or the dates of one of the two tiers ({columns}), or switch one off.",
    id: "Geser batas atau tanggal salah satu dari kedua tier ({columns}), atau nonaktifkan salah satunya.",
  },
  username_twice: {
    en: "Give each contact person a user name of their own in {columns}.",
    id: "Beri setiap narahubung nama pengguna sendiri di {columns}.",
  },
  account_type_missing: {
    en: "Choose a type for the account in {columns} if the default role is not meant.",
    id: "Pilih tipe akun di {columns} bila peran bawaan tidak dimaksudkan.",
  },
};

/** All other messages. */
export const SENTENCES = {
  validation_failed: {
    en: "Validation failed: {findings}",
    id: "Validasi gagal: {findings}",
  },
  not_valid: {
    en: "The command is not valid.",
    id: "Perintah tidak valid.",
  },
  waits_for_parent: {
    en: "Its parent {parent} has no external id yet: the account waits for it.",
    id: "Induknya {parent} belum punya id eksternal: akun ini menunggunya.",
  },
  send_parent_first: {
    en: "Send the parent {parent} to the API first; this account follows by itself.",
    id: "Kirim induk {parent} ke API lebih dulu; akun ini menyusul sendiri.",
  },
  make_smaller: {
    en: "Remove rows that are no longer needed ({problem}).",
    id: "Hapus baris yang tidak diperlukan lagi ({problem}).",
  },
  input_lost: {
    en: "{count} of the rows given as {field} did not arrive",
    id: "{count} baris yang diberikan sebagai {field} tidak sampai",
  },
  rows_missing: {
    en: "{count} active rows of {table} are missing in {field}",
    id: "{count} baris aktif {table} tidak ada di {field}",
  },
  rows_unknown: {
    en: "{count} items of {field} have no active row of {table} behind them",
    id: "{count} butir {field} tidak berasal dari baris aktif {table}",
  },
  value_changed: {
    en: "{field} differs from {columns}",
    id: "{field} tidak sama dengan isi {columns}",
  },
  do_not_send: {
    en: "Report this with the output of the preview: {field} does not hold what the source does.",
    id: "Laporkan hal ini beserta keluaran pratinjau: {field} tidak memuat isi sumbernya.",
  },
} as const satisfies Readonly<Record<string, Text>>;

/** The text in this language, with `{name}` replaced by `values.name`. */
export function say(
  text: Text,
  language: Language,
  values: Readonly<Record<string, string>>,
): string {
  return text[language].replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name] ?? "");
}
