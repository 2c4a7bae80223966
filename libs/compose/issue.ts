/** What is wrong with a compose file: every fault with its place, gathered so that all are told at once. */
import { WeftError } from '#base/errors.js';

/** 1-based; columns count UTF-16 units. */
export interface Position {
  /** As it shall appear in messages. */
  file: string;
  line: number;
  column: number;
}

export interface ComposeIssue extends Position {
  /** Where in the model, e.g. `services.web.ports[0]`; '' for the file as a whole. */
  path: string;
  message: string;
  hint?: string;
}

export const formatPlace = (at: Position): string => `${at.file}:${at.line}:${at.column}`;

/** How a message at `from` names another place: by its line alone where both are in one file. */
export const placeSeenFrom = (from: Position, at: Position): string =>
  from.file === at.file ? `line ${at.line}` : `${at.file}:${at.line}`;

/** One line: `file:line:column: path: message (hint)`. */
export function formatIssue(issue: ComposeIssue): string {
  const place = formatPlace(issue);
  const text = issue.path === '' ? issue.message : `${issue.path}: ${issue.message}`;
  return `${place}: ${text}${issue.hint ? ` (${issue.hint})` : ''}`;
}

/** COMPOSE_INVALID with every issue of the file; `why` has one line for each. */
export class ComposeErrors extends WeftError {
  readonly issues: readonly ComposeIssue[];

  constructor(file: string, issues: readonly ComposeIssue[]) {
    super('COMPOSE_INVALID', {
      what: `${file} is not a stack that Weft can run: ${issues.length === 1 ? '1 error' : `${issues.length} errors`}`,
      why: issues.map(formatIssue).join('\n'),
    });
    this.issues = issues;
  }
}

/** A value of the file, quoted so that control characters show and nothing is longer than a line. */
export function quote(value: string): string {
  return JSON.stringify(value.length > 64 ? `${value.slice(0, 64)}…` : value);
}

/** `path.key`, the key quoted where it is no plain word. */
export function joinPath(path: string, key: string): string {
  const part = /^[\w-]{1,64}$/.test(key) ? key : quote(key);
  return path === '' ? part : `${path}.${part}`;
}
