export async function newCommand(_folder: string): Promise<void> {}
