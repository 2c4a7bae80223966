/** Options that several commands have, and their readings. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { Format } from './render/table.js';

export const contextOption = (): Option =>
  new Option('--context <name>', 'the cluster to speak to (else WEFT_CONTEXT, else the one in use)');

export const formatOption = (): Option => new Option('--format <format>', 'how to print').choices(['table', 'json']).default('table');

/** A listing: --format and --context. */
export const listingOptions = (command: Command): Command => command.addOption(formatOption()).addOption(contextOption());

export interface CommonFlags {
  context?: string;
  format: Format;
}

/** The flags of a command and of `ctl` itself, a command's own first. */
export const flagsOf = <T>(command: Command): T => {
  const own = command.opts();
  return { ...command.optsWithGlobals(), ...own } as T;
};

/** How long to wait. */
export const timeoutOption = (seconds: number, flags = '--timeout <seconds>'): Option =>
  new Option(flags, 'give up when nothing has got better for this long').argParser(wholeNumber).default(seconds);

/** As in `docker compose stop`. */
export const graceOption = (): Option =>
  new Option('-t, --timeout <seconds>', 'how long a program has to end before it is killed (default: its stop_grace_period)').argParser(
    wholeNumber,
  );

/** A whole number, not negative. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
  return Number(text);
}

/** `KEY=VALUE`, given again and again. */
export function gatherPair(text: string, before: Record<string, string>): Record<string, string> {
  const at = text.indexOf('=');
  if (at === 0) throw new InvalidArgumentError('It must be KEY or KEY=VALUE.');
  return { ...before, [at < 0 ? text : text.slice(0, at)]: at < 0 ? '' : text.slice(at + 1) };
}
