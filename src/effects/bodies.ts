import { EffectResponseRefused, InvalidMessage } from '../errors.ts'
import type { EffectBodies } from '../rules/effect-bodies.ts'
import { jsonText } from '../rules/json-text.ts'

export type { EffectBodies } from '../rules/effect-bodies.ts'

export interface StoredBody {
  readonly response: string | undefined
  readonly sealed: boolean
}

/** A body as it is stored, and as everybody gets it. */
export interface KeptBody extends StoredBody {
  readonly body: unknown
}

export const NO_BODY: KeptBody = Object.freeze({ response: undefined, sealed: false, body: undefined })

export const RESPONSE_BYTES = 65_536

/** Turns responses into what is stored, and back. */
export class Bodies {
  readonly #options: EffectBodies

  constructor(options: EffectBodies) {
    this.#options = options
  }

  /** Throws an `EffectResponseRefused` for what cannot be stored. */
  async keep(operation: string, given: unknown): Promise<KeptBody> {
    const { redact, seal } = this.#options
    const text = this.#textOf(operation, redact ? redact(given, operation) : given)
    if (text === undefined) return NO_BODY
    const body = JSON.parse(text)
    if (!seal) return { response: text, sealed: false, body }
    return { response: await seal(text, operation), sealed: true, body }
  }

  async open(operation: string, { response, sealed }: StoredBody): Promise<unknown> {
    if (response === undefined) return undefined
    if (!sealed) return JSON.parse(response)
    const { unseal } = this.#options
    if (!unseal) throw new EffectResponseRefused(operation, 'it is sealed, and there is no effects.unseal to open it')
    return JSON.parse(await unseal(response, operation))
  }

  // Once through JSON, so that instances with a toJSON are what they say they are, and then checked as any payload is.
  #textOf(operation: string, body: unknown): string | undefined {
    if (body === undefined) return undefined
    const { responseBytes = RESPONSE_BYTES } = this.#options
    try {
      const plain = JSON.stringify(body)
      if (plain === undefined) return undefined
      return jsonText(JSON.parse(plain), responseBytes, { messageType: operation, path: 'response' })
    } catch (error) {
      const reason =
        error instanceof InvalidMessage ? error.message.replace(/^.*?": /, '') : 'it cannot be written as JSON'
      throw new EffectResponseRefused(operation, reason, { cause: error })
    }
  }
}
