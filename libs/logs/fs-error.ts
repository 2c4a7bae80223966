/** Whether a thrown thing is the system error with this code ("ENOENT"). Not by `instanceof`: errors may come from another realm. */
export const hasCode = (thrown: unknown, code: string): boolean =>
  typeof thrown === 'object' && thrown !== null && 'code' in thrown && thrown.code === code;
