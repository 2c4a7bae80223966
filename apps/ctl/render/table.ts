/** Rows → text: a table of aligned columns, or JSON. */
import { printable } from './printable.js';

export type Format = 'table' | 'json';
/** What a row of a listing may hold: flat, so that `jq` and spreadsheets take it as it is. */
export type Row = Readonly<Record<string, string | number | boolean | null>>;

export interface Column<R> {
  title: string;
  text: (row: R) => string;
  align?: 'right';
  /** Its texts may be cut where the table would be wider than the terminal. */
  cuts?: true;
}

/** Names as people order them: node2 before node10. */
export const inOrder = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

const GAP = '   ';
/** No column is cut to less, in characters. */
const LEAST_CUT = 30;

/** Title line and a line a row; columns as wide as their longest cell. @param terminal columns of it; nothing is cut without */
export function table<R>(rows: readonly R[], columns: readonly Column<R>[], terminal = Infinity): string {
  const cells = [columns.map((c) => c.title), ...rows.map((row) => columns.map((c) => printable(c.text(row)) || '-'))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  const tooMuch = widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length) - terminal;
  const cutAt = columns.findIndex((c) => c.cuts);
  if (tooMuch > 0 && cutAt >= 0) widths[cutAt] = Math.min(widths[cutAt] ?? 0, Math.max(LEAST_CUT, (widths[cutAt] ?? 0) - tooMuch));
  const pad = (cell: string, i: number): string => {
    const width = widths[i] ?? 0;
    if (cell.length > width) return `${cell.slice(0, width - 1)}…`;
    return columns[i]?.align === 'right' ? cell.padStart(width) : cell.padEnd(width);
  };
  return cells.map((line) => `${line.map(pad).join(GAP).trimEnd()}\n`).join('');
}

export const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** A listing in the form that was asked for. @param terminal as for `table` */
export const listing = <R extends Row>(rows: readonly R[], columns: readonly Column<R>[], format: Format, terminal?: number): string =>
  format === 'json' ? json(rows) : table(rows, columns, terminal);
