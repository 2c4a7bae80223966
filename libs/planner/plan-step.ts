/** One line of a stack's plan: it prints in a dry run, and says what the writes beside it do. */
export interface PlanStep {
  action: 'create' | 'change' | 'recreate' | 'remove' | 'keep';
  kind: 'network' | 'service' | 'volume';
  name: string;
  /** What changes, or why. */
  details: string[];
}
