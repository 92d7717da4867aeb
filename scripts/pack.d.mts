export interface Packed {
  /** The tarball. */
  readonly file: string
  readonly version: string
  readonly size: number
  readonly unpackedSize: number
  readonly files: readonly { readonly path: string; readonly size: number }[]
}

export function pack(folder: string): Packed | undefined
