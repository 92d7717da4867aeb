/** Where a process dies. */
export const POINTS = [
  'before the claim commits',
  'after the claim',
  'after the call is begun',
  'during the call',
  'after the call',
  'after the answer is written down',
  'before the recording commit',
  'after the recording commit',
] as const

export type Point = (typeof POINTS)[number]
