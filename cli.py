from fdrd.__main__ import main

main()
