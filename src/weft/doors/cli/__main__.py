from weft.doors.cli import main

main()
