import type { MessageFacts } from './delivery.ts'
import { shape } from './options.ts'
import { patternProblem, topicMatches } from './route.ts'

/** Which messages are wanted: those that everything given here is true of. */
export interface MessageFilter {
  /** The exchange it was published to; '' for the default exchange. */
  readonly exchange?: string | undefined
  /** A pattern as a topic exchange has it, whatever the exchange: `order.*`, `#.failed`. */
  readonly routingKey?: string | undefined
  readonly key?: string | undefined
  readonly type?: string | undefined
  /** What its payload, its headers or one of its names contain, whatever the case of letters. A body is not searched. */
  readonly text?: string | undefined
}

export const MESSAGE_FILTER = shape((z) =>
  z.strictObject({
    exchange: z.string().optional(),
    routingKey: z
      .string()
      .superRefine((pattern, context) => {
        const problem = patternProblem(pattern)
        if (problem) context.addIssue({ code: 'custom', message: `it ${problem}` })
      })
      .optional(),
    key: z.string().optional(),
    type: z.string().optional(),
    text: z.string().min(1).optional(),
  }),
)

export function isWanted(message: MessageFacts, filter: MessageFilter): boolean {
  const { exchange, routingKey, key, type, text } = filter
  if (exchange !== undefined && message.exchange !== exchange) return false
  if (routingKey !== undefined && !topicMatches(routingKey, message.routingKey)) return false
  if (key !== undefined && message.key !== key) return false
  if (type !== undefined && message.type !== type) return false
  return text === undefined || contains(message, text.toLowerCase())
}

function contains({ id, exchange, routingKey, key = '', type, headers, payload }: MessageFacts, text: string): boolean {
  const written = [id, exchange, routingKey, key, type, JSON.stringify(headers), JSON.stringify(payload) ?? '']
  return written.some((part) => part.toLowerCase().includes(text))
}
