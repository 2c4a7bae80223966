/** `logging`: the log keeper of the node keeps what containers print; the options of Docker's file drivers are its limits. */
import type { Logging } from '#model/container-keys.js';
import { entriesOf, isNull, readInteger, readString, readText, readUnit, reject, report, type Context, type Field } from './context.js';
import type { ServiceDraft } from './draft.js';
import { quote } from './issue.js';
import { parseBytes } from './units.js';

const FILE_DRIVERS = ['json-file', 'local'];
/** Files that each driver of Docker keeps if only their size is given. */
const FILES: Readonly<Record<string, number>> = { 'json-file': 1, local: 5 };
/** The log keeper's least. */
const LEAST_BYTES = 4096;
const SHIP = 'logs are read with `ctl logs`; a log shipper on the nodes can read the files';

export function readLogging(c: Context, field: Field, { container }: ServiceDraft): void {
  if (isNull(field.value)) return;
  const given = new Map((entriesOf(c, field) ?? []).map((entry) => [entry.key, entry]));
  const driverField = given.get('driver');
  const driver = driverField && !isNull(driverField.value) ? readString(c, driverField, 'a logging driver') : undefined;
  const options = given.get('options');
  if (driverField && driver !== undefined && driver !== '' && driver !== 'none' && !FILE_DRIVERS.includes(driver))
    return reject(c, driverField, `Weft keeps the logs itself and has no driver ${quote(driver)}`, SHIP);
  const logging: Logging = driver === 'none' ? { none: true } : {};
  if (options && !isNull(options.value)) readOptions(c, options, logging, driver);
  if (logging.maxBytes !== undefined) logging.maxFiles ??= FILES[driver ?? 'json-file'];
  if (Object.keys(logging).length > 0) container.logging = logging;
}

function readOptions(c: Context, field: Field, logging: Logging, driver: string | undefined): void {
  for (const entry of entriesOf(c, field) ?? []) {
    if (driver === 'none') reject(c, entry, 'the driver none has no options');
    else if (entry.key === 'max-size') logging.maxBytes = readSize(c, entry);
    else if (entry.key === 'max-file') logging.maxFiles = readInteger(c, entry, 1, 1_000);
    else refuseOption(c, entry);
  }
}

/** −1: the file grows. */
const readSize = (c: Context, field: Field): number | undefined =>
  readUnit(
    c,
    field,
    (text) => (text === '-1' ? Number.MAX_SAFE_INTEGER : parseBytes(text)),
    'a size of at least 4k like "10m", or "-1"',
    LEAST_BYTES,
  );

/** What some options ask for is so anyway. */
const AS_IT_IS: Readonly<Record<string, string>> = { compress: 'false', mode: 'blocking' };
const REASONS: Readonly<Record<string, string>> = {
  compress: 'rotated logs are not compressed',
  mode: 'a container waits for its log when the disk is slow, and loses nothing',
  'max-buffer-size': 'a container waits for its log when the disk is slow, and needs no buffer',
};

function refuseOption(c: Context, entry: Field & { key: string }): void {
  const text = readText(c, entry, 'a string or a number');
  if (text === undefined || AS_IT_IS[entry.key] === text) return;
  const reason = REASONS[entry.key] ?? 'the log has its own form: time, stream, text';
  report(c, entry.at, entry.path, `Weft has no option ${quote(entry.key)}: ${reason}`, 'it has max-size and max-file');
}
