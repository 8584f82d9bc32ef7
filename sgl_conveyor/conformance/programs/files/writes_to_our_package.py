import sgl_conveyor
open(sgl_conveyor.__file__, 'a')
