/** Rows → text: a table of aligned columns, or JSON. */
import { printable } from './printable.js';

export type Format = 'table' | 'json';
/** What a row of a listing may hold: flat, so that `jq` and spreadsheets take it as it is. */
export type Row = Readonly<Record<string, string | number | boolean | null>>;

export interface Column<R> {
  title: string;
  text: (row: R) => string;
  align?: 'right';
}

/** Names as people order them: node2 before node10. */
export const inOrder = (a: string, b: string): number => a.localeCompare(b, 'en', { numeric: true });

const GAP = '   ';

/** Title line and a line a row; columns as wide as their longest cell. */
export function table<R>(rows: readonly R[], columns: readonly Column<R>[]): string {
  const cells = [columns.map((c) => c.title), ...rows.map((row) => columns.map((c) => printable(c.text(row)) || '-'))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i]?.length ?? 0)));
  const pad = (cell: string, i: number): string =>
    columns[i]?.align === 'right' ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
  return cells.map((line) => `${line.map(pad).join(GAP).trimEnd()}\n`).join('');
}

export const json = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** A listing in the form that was asked for. */
export const listing = <R extends Row>(rows: readonly R[], columns: readonly Column<R>[], format: Format): string =>
  format === 'json' ? json(rows) : table(rows, columns);
