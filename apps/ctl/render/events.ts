/** Events as lines. */
import type { Event } from '#rpc/gen/weft/v1/operations.js';
import { printable } from './printable.js';

export const eventRow = (e: Event) => ({
  time: new Date(e.at).toISOString(),
  kind: e.kind,
  action: e.action,
  name: e.name,
  stack: e.stack,
  service: e.service,
  node: e.node,
  id: e.id,
  message: e.message,
  exitCode: e.exitCode ?? null,
  sequence: e.sequence,
});

/** `2026-01-31T10:00:00.000Z task reschedule shop-web-1 (node2): from node1: node node1 was declared dead`. */
export function eventText(e: Event): string {
  const where = e.node !== '' && e.node !== e.name ? ` (${e.node})` : e.kind === 'service' ? ` (${e.stack})` : '';
  const exit = e.exitCode === undefined || e.message.includes('code') ? '' : `exit ${e.exitCode}`;
  const more = [e.message, exit].filter((text) => text !== '').join(', ');
  return printable(`${new Date(e.at).toISOString()} ${e.kind} ${e.action} ${e.name}${where}${more === '' ? '' : `: ${more}`}`);
}
