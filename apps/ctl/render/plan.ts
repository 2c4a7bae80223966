/** A plan as lines: what is created, changed, recreated, removed; what stays is counted. */
import pc from 'picocolors';
import type { PlanStep } from '#rpc/gen/weft/v1/api.js';
import { printable } from './printable.js';
import { count } from './quantity.js';

const SIGNS: Readonly<Record<string, string>> = { create: '+', change: '~', recreate: '±', remove: '-', keep: '=' };

/** True for a plan that does nothing. */
export const changesNothing = (steps: readonly PlanStep[]): boolean => steps.every((step) => step.action === 'keep');

/** @param whole whether what stays is named, too, and not only counted */
export function planText(steps: readonly PlanStep[], colour: boolean, whole = false): string {
  const c = pc.createColors(colour);
  const paint: Readonly<Record<string, (text: string) => string>> = {
    create: c.green,
    change: c.yellow,
    recreate: c.yellow,
    remove: c.red,
    keep: c.dim,
  };
  const changing = steps.filter((step) => step.action !== 'keep');
  const kept = steps.length - changing.length;
  const lines = (whole ? steps : changing).map((step) => {
    const head = `${SIGNS[step.action] ?? '?'} ${step.action} ${step.kind} ${step.name}`;
    return `${(paint[step.action] ?? String)(printable(head))}${step.details.length > 0 ? `: ${printable(step.details.join('; '))}` : ''}\n`;
  });
  if (changing.length === 0) return `${lines.join('')}nothing to change\n`;
  return lines.join('') + (kept > 0 && !whole ? `${count(kept, 'thing')} unchanged\n` : '');
}

/** The plan as rows, for --format json. */
export const planRows = (steps: readonly PlanStep[]) =>
  steps.map(({ action, kind, name, details }) => ({ action, kind, name, details: details.join('; ') }));
